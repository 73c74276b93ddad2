"""Coders against known answers: other solvers, and dictionaries whose codes theorems recover."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, orthogonal_mp
from torch import Tensor

from readout import measure
from readout.codes import (
    FISTA,
    ISTA,
    Coder,
    CoordinateDescent,
    Dictionary,
    GaussianDictionary,
    MatchingPursuit,
    OnePass,
    OrthogonalMatchingPursuit,
    OrthonormalDictionary,
    PursuitEncoder,
    SparseCodes,
    SpikesAndSines,
    Superposition,
)
from readout.codes.sparse_codes import Magnitudes
from readout.common.errors import ReadoutError
from readout.data import InputData, UniformNoise
from readout.extractors import OrthonormalLinear
from readout.metrics import CorrelationDistance, SupportDistance
from readout.prediction.beside import check_predictable
from readout.readouts import CodeReadout
from tests.codes.helpers import draw, read, with_encoder

LASSO = {"ista": ISTA, "fista": FISTA, "coordinate descent": CoordinateDescent}


@pytest.mark.parametrize("nonnegative", [True, False])
@pytest.mark.parametrize("make", LASSO.values(), ids=LASSO)
def test_the_objective_reaches_its_minimum(make: type[ISTA], nonnegative: bool) -> None:
    network, _, feature = draw(GaussianDictionary(40, 20), SparseCodes(8, 4, nonnegative=nonnegative))
    atoms, weight = network.dictionary.atoms, 0.1

    def objective(codes: Tensor) -> Tensor:
        return (codes @ atoms - feature).square().sum(1) / 2 + weight * codes.abs().sum(1)

    found = read(network, make(weight, nonnegative=nonnegative), feature, 300 if make is CoordinateDescent else 3000)
    # the library's objective is divided by the number of dimensions
    other = Lasso(weight / 20, fit_intercept=False, positive=nonnegative, tol=1e-12, max_iter=100_000)
    best = [torch.from_numpy(other.fit(atoms.T.numpy(), row.numpy()).coef_) for row in feature]
    torch.testing.assert_close(objective(found), objective(torch.stack(best)), rtol=1e-5, atol=0)


def test_the_objective_never_rises_and_momentum_saves_iterations() -> None:
    network, _, feature = draw(GaussianDictionary(64, 32), SparseCodes(20, 4))

    def course(coder: ISTA) -> list[float]:
        def objective() -> float:
            return float(((coder() @ coder.atoms - feature).square().sum(1) / 2 + 0.05 * coder().sum(1)).sum())

        read(network, coder, feature, 0)
        values = []
        for _ in range(200):
            coder.iterate()
            values.append(objective())
        return values

    plain, fast = course(ISTA(0.05)), course(FISTA(0.05))
    assert all(after <= before + 1e-6 for before, after in pairwise(plain))
    assert fast[20] - min(fast) < 0.2 * (plain[20] - min(fast))


def test_orthogonal_pursuit_chooses_what_another_solver_does() -> None:
    network, _, feature = draw(GaussianDictionary(64, 32), SparseCodes(30, 5, nonnegative=False))
    found = read(network, OrthogonalMatchingPursuit(5, nonnegative=False), feature, 5)
    other = orthogonal_mp(network.dictionary.atoms.T.numpy(), feature.T.numpy(), n_nonzero_coefs=5)
    np.testing.assert_allclose(found, other.T, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "magnitudes", "recovered"),
    [
        (OrthogonalMatchingPursuit, "half_normal", 1.0),
        (OnePass, "equal", 1.0),
        (OnePass, "half_normal", 0.38),  # one pass takes interference of large latents for small ones
    ],
)
def test_fewer_latents_than_coherence_allows_are_recovered(
    make: Callable[..., Coder], magnitudes: Magnitudes, recovered: float
) -> None:
    network, codes, feature = draw(SpikesAndSines(64), SparseCodes(500, 4, magnitudes))
    assert network.dictionary.coherence() == pytest.approx(1 / 8)  # so K = 4 < (1 + 8) / 2
    found = read(network, make(active=4), feature, 4)
    share = float((SupportDistance().per_sample(found, codes) == 0).float().mean())
    assert share == pytest.approx(recovered, abs=0.06 if recovered < 1 else 0)


@pytest.mark.parametrize(
    "coder", [OnePass(), OnePass(threshold=1e-4), ISTA(1e-4), MatchingPursuit(5), OrthogonalMatchingPursuit(5)]
)
def test_codes_without_superposition_are_read_by_all(coder: Coder) -> None:
    network, codes, feature = draw(OrthonormalDictionary(32), SparseCodes(20, 5))
    torch.testing.assert_close(read(network, coder, feature, 50), codes, rtol=0, atol=2e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: OnePass(active=3),
        lambda: ISTA(active=3),
        lambda: FISTA(),
        lambda: CoordinateDescent(nonnegative=False),
        lambda: MatchingPursuit(3),
        lambda: OrthogonalMatchingPursuit(3),
    ],
)
def test_a_problem_is_read_alone_as_in_a_batch(make: Callable[[], Coder]) -> None:
    network, _, feature = draw(GaussianDictionary(24, 12), SparseCodes(6, 3))
    together = read(network, make(), feature, 20)
    alone = torch.cat([read(network, make(), row.unsqueeze(0), 20) for row in feature])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


def measured(data: InputData, coder: Coder) -> object:
    readout = CodeReadout(Superposition(GaussianDictionary(16, 8)), coder, CorrelationDistance())
    return measure(None, data, levels=[0], readout=readout, steps=2, progress=False)


def test_verdicts_tell_inference_that_fell_short_from_codes_that_are_not_identifiable() -> None:
    network = Superposition(GaussianDictionary(16, 8))
    shares = {}
    for coder in (OnePass(active=3), FISTA(0.01, active=3)):
        readout = CodeReadout(network, coder, record_every=100)
        measured = measure(None, SparseCodes(256, 3), levels=[0], readout=readout, steps=300, progress=False)
        shares[type(coder)] = measured.problems["verdict"].value_counts(normalize=True).to_dict()
    # the true code explains the feature exactly, and another one does so rarely
    assert shares[OnePass]["not_converged"] > 0.85
    assert shares[FISTA]["recovered"] > 0.85
    assert max(share["unrecovered"] for share in shares.values()) < 0.03


def test_the_penalty_counts_in_verdicts() -> None:
    """The minimum of the objective is at or below the true code's value, so nothing can be called not converged."""
    network = Superposition(GaussianDictionary(16, 8))
    readout = CodeReadout(network, FISTA(0.1), record_every=500)
    data = SparseCodes(64, 3)
    problems = measure(None, data, levels=[0, 0.1], readout=readout, steps=1000, progress=False).problems
    assert (problems["loss"] <= problems["floor"] + 1e-6).all()
    codes = torch.stack([sample.input for sample in data])
    clean = problems[problems["level"] == 0].set_index("sample")["floor"]
    expected = 2 * 0.1 / 8 * codes.sum(1)  # at level 0 the true code leaves no error, only its penalty
    assert clean[[sample.name for sample in data]].tolist() == pytest.approx(expected.tolist(), rel=1e-4)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Dictionary(torch.zeros(3, 2)), "3 of 3 atoms, such as number 0, are zero or not finite"),
        (lambda: Dictionary(torch.full((2, 2), torch.nan)), "zero or not finite"),
        (lambda: Dictionary(torch.ones(2, 2, 2)), "2 × 2 × 2; give a matrix"),
        (lambda: SpikesAndSines(12), "power of two"),
        (lambda: OnePass(active=3, threshold=0.1), "not by both"),
        (lambda: CodeReadout(Superposition(GaussianDictionary(16, 8)), OnePass(active=9)), "at most 8"),
        (lambda: SparseCodes(4, 16).prepare_for(Superposition(GaussianDictionary(16, 8))), "not sparse among 16"),
        (lambda: SparseCodes(4).prepare_for(OrthonormalLinear()), "inputs of a Superposition"),
        (lambda: FISTA().prepare_for(OrthonormalLinear()), "no dictionary"),
        (
            lambda: measured(SparseCodes(2), FISTA(100.0)),
            "no latent is active in the code of the first input; give less",
        ),
        (lambda: measured(UniformNoise(1, (3, 8, 8)), FISTA()), "Inputs are 3 × 8 × 8, but a code has 16 latents"),
        (lambda: check_predictable(CorrelationDistance(), [torch.rand(16)]), "images, not codes"),
        (lambda: MatchingPursuit(5).steps(3), "trainer.max_steps is 3"),
    ],
)
def test_what_can_not_be_coded_is_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(ReadoutError, match=said):
        call()


def test_a_digest_tells_encoders_apart_that_have_no_weights() -> None:
    digests = {with_encoder(encoder=PursuitEncoder(active)).fingerprint() for active in (2, 3)}
    assert len(digests) == 2
