"""Closed forms for sparse codes against measurements."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from readout.code_theory import (
    coherence_size,
    donoho_tanner,
    lasso_distance,
    linear_code_bound,
    one_pass_distance,
    oracle_distance,
    support_probability,
    support_size,
)
from readout.codes import (
    FISTA,
    Dictionary,
    GaussianDictionary,
    OnePass,
    OrthonormalDictionary,
    SparseCodes,
    SpikesAndSines,
    Superposition,
)
from readout.common.errors import ReadoutError
from readout.representation import noise_ratio
from tests.codes.helpers import draw, read

LEVELS = [0.1, 0.3, 0.5]
N, M, K = 1000, 500, 50


def moved(network: Superposition, codes: Tensor, level: float) -> Tensor:
    feature = network.extract(codes, "superposition")
    noise = torch.randn(feature.shape, generator=torch.Generator().manual_seed(1))
    return feature + noise * feature.std(1, keepdim=True) * float(noise_ratio(level)) ** 0.5


def pooled_distance(one: Tensor, other: Tensor) -> float:
    return 1 - float(np.corrcoef(one.flatten(), other.flatten())[0, 1])


@pytest.fixture(scope="module")
def superposed() -> tuple[Superposition, Tensor]:
    return draw(GaussianDictionary(N, M), SparseCodes(600, K))[:2]


ENERGY_RATIO = 1 / (1 - K / N * 2 / math.pi)
"""E s² / Var s of half-normal latents: E s² = K/N and E s = K/N · √(2/π)."""


def test_one_pass(superposed: tuple[Superposition, Tensor]) -> None:
    network, codes = superposed
    coder = OnePass(nonnegative=False)
    measured = [pooled_distance(read(network, coder, moved(network, codes, level), 1), codes) for level in (0, *LEVELS)]
    assert measured == pytest.approx(one_pass_distance([0, *LEVELS], N, M, ENERGY_RATIO).tolist(), abs=0.003)


@pytest.mark.parametrize("nonnegative", [True, False])
def test_lasso(nonnegative: bool) -> None:
    # twice as large, because state evolution is of infinite size
    network, codes, _ = draw(GaussianDictionary(2 * N, 2 * M), SparseCodes(40, 2 * K, nonnegative=nonnegative))
    coder = FISTA(0.1, nonnegative=nonnegative)
    measured = [pooled_distance(read(network, coder, moved(network, codes, level), 100), codes) for level in LEVELS]
    expected = lasso_distance(LEVELS, 0.1, 2 * K, 2 * N, 2 * M, nonnegative)
    assert measured == pytest.approx(expected.tolist(), abs=0.02)


def test_oracle() -> None:
    network, codes, _ = draw(GaussianDictionary(512, 256), SparseCodes(400, 16, nonnegative=False))
    coder, support = OnePass(nonnegative=False), codes.abs().topk(16).indices
    measured = []
    for level in LEVELS:
        read(network, coder, moved(network, codes, level), 1)
        measured.append(pooled_distance(coder.refit(support), codes))
    assert measured == pytest.approx(oracle_distance(LEVELS, 16, 256).tolist(), abs=0.01)


def test_no_linear_readout_beats_its_bound() -> None:
    network, codes, _ = draw(GaussianDictionary(64, 16), SparseCodes(20_000, 3, nonnegative=False))
    feature = network.extract(codes, "superposition")
    best = feature @ torch.linalg.lstsq(feature, codes).solution
    correlations = [np.corrcoef(best[:, latent], codes[:, latent])[0, 1] for latent in range(64)]
    assert 1 - float(np.mean(correlations)) == pytest.approx(linear_code_bound(64, 16), abs=0.01)


@pytest.mark.parametrize(
    ("nonnegative", "published"),
    [(True, [0.189, 0.241, 0.365, 0.558, 0.766, 0.903]), (False, [0.154, 0.189, 0.267, 0.386, 0.534, 0.678])],
)
def test_the_phase_transition_is_the_published_one(nonnegative: bool, published: list[float]) -> None:
    assert donoho_tanner([0.05, 0.1, 0.25, 0.5, 0.75, 0.9], nonnegative).round(3).tolist() == published


def test_codes_are_recovered_below_the_phase_transition_and_not_above() -> None:
    from scipy.optimize import linprog

    atoms = GaussianDictionary(100, 50).atoms.T.double().numpy()
    critical, shares = 50 * float(donoho_tanner(0.5)), []
    for active in (round(critical) - 7, round(critical) + 7):
        _, codes, _ = draw(Dictionary(torch.from_numpy(atoms.T)), SparseCodes(12, active))
        found = [linprog(np.ones(100), A_eq=atoms, b_eq=atoms @ code).x for code in codes.double().numpy()]
        shares.append(np.mean([np.abs(x - code).max() < 1e-4 for x, code in zip(found, codes.numpy(), strict=True)]))
    assert shares[0] > 0.7
    assert shares[1] < 0.3


def test_supports_with_orthonormal_atoms() -> None:
    network, codes, _ = draw(OrthonormalDictionary(256), SparseCodes(4000, 8, "equal"))
    levels = [0.3, 0.4, 0.5]
    kept = []
    for level in levels:
        wrong = read(network, OnePass(active=8), moved(network, codes, level), 1) * (codes == 0)
        kept.append(float(wrong.eq(0).all(1).float().mean()))
    assert kept == pytest.approx(support_probability(levels, 8, 256, 256).tolist(), abs=0.02)
    sizes = [support_size(8, 1024, 1024), support_size(8, 256, 256), support_size(4, 64, 64)]
    assert sizes == pytest.approx([0.621, 0.404, 0.362], abs=5e-4)
    assert float(support_probability(support_size(8, 256, 256, 0.9), 8, 256, 256)) == pytest.approx(0.9)


def test_the_size_that_coherence_guarantees_is_kept() -> None:
    dictionary = SpikesAndSines(256)
    assert dictionary.coherence() == pytest.approx(1 / 16)
    network, codes, _ = draw(dictionary, SparseCodes(500, 2, "equal"))
    size = coherence_size(1 / 16, 2, 512, 256)
    found = read(network, OnePass(active=2), moved(network, codes, size), 1)
    assert size > 0.35
    assert (found * (codes == 0)).eq(0).all(1).float().mean() > 0.99
    assert coherence_size(0.2, 3, 512, 256) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: one_pass_distance(0.1, 8, 8), "more atoms than dimensions"),
        (lambda: linear_code_bound(4, 8), "more atoms than dimensions"),
        (lambda: support_size(4, 128, 64), "can't be orthonormal"),
        (lambda: support_probability(0.1, 64, 64, 64), "atoms is 64"),
        (lambda: donoho_tanner(1.0), "ratio is 1"),
        (lambda: lasso_distance(0.1, 0.0, 3, 16, 8), "penalty_weight is 0"),
        (lambda: oracle_distance(1.0, 3, 8), "level"),
    ],
)
def test_arguments_out_of_range_are_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ReadoutError, match=said):
        call()
