"""scikit-learn's coders: one signal after the other, in float64, on the CPU."""

from collections.abc import Callable

import numpy as np
import torch
from sklearn.decomposition import sparse_encode
from sklearn.linear_model import Lasso, orthogonal_mp

from benchmarks.pace import Pace
from benchmarks.work import PENALTY, Work, code_facts, superposed


def run(work: Work) -> None:
    """Infer the codes of all signals, again and again; a step is all of them."""
    network, feature, active = superposed(work)
    signals, atoms = feature.double().numpy(), network.dictionary.atoms.double().numpy()
    lasso = Lasso(PENALTY / atoms.shape[1], fit_intercept=False)  # its objective is divided by M
    coders: dict[str, Callable[[], np.ndarray]] = {
        "orthogonal_mp": lambda: orthogonal_mp(atoms.T, signals.T, n_nonzero_coefs=active).T,
        "orthogonal_mp, Gram": lambda: orthogonal_mp(atoms.T, signals.T, n_nonzero_coefs=active, precompute=True).T,
        "Lasso": lambda: lasso.fit(atoms.T, signals.T).coef_,
        "lasso_cd": lambda: sparse_encode(signals, atoms, algorithm="lasso_cd", alpha=PENALTY),
        "lasso_lars": lambda: sparse_encode(signals, atoms, algorithm="lasso_lars", alpha=PENALTY),
    }
    infer = coders[work.coder]
    facts = code_facts(work, network, feature, torch.from_numpy(np.ascontiguousarray(infer())))
    pace = Pace(work.problems, "cpu", **facts)
    while True:
        pace()
        infer()
