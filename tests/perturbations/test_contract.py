"""Rules for every perturbation; a new class is one entry of :data:`PERTURBATIONS`."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.data import Sample, Samples
from readout.external.features import ExternalFeatures
from readout.extractors import OrthonormalLinear
from readout.perturbations import (
    GaussianPerturbation,
    NearestLoss,
    NormalPerturbation,
    Origin,
    Perturbation,
    ResidualPerturbation,
    TangentPerturbation,
    Toward,
    UnitLoss,
)
from readout.readouts.target import perturb_rows
from tests.tiny import concrete_classes

INPUTS = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(1))


def toward(_: Path, __: int) -> Toward:
    perturbation = Toward()
    perturbation.meet(Samples.of(Sample(str(row), x) for row, x in enumerate(INPUTS)))
    return perturbation


def residuals(folder: Path, dimension: int) -> ResidualPerturbation:
    path = folder / f"{dimension}.npy"
    np.save(path, np.random.default_rng(0).normal(size=(50, dimension)))
    return ResidualPerturbation(str(path), draw="covariance")


PERTURBATIONS: dict[str, Callable[[Path, int], Perturbation]] = {
    "gaussian": lambda *_: GaussianPerturbation(),
    "gaussian, exact": lambda *_: GaussianPerturbation("exact"),
    "tangent": lambda *_: TangentPerturbation(),
    "normal": lambda *_: NormalPerturbation(),
    "nearest loss": lambda *_: NearestLoss(),
    "unit loss": lambda *_: UnitLoss(),
    "toward": toward,
    "residuals": residuals,
}
DIRECTED = [name for name in PERTURBATIONS if name not in ("unit loss", "toward")]
ISOTROPIC = ["gaussian", "gaussian, exact"]
FOR_TEXTS = ["gaussian", "gaussian, exact", "unit loss"]
NO_RULE = {ExternalFeatures}
"""Classes that move a feature to no level: theirs come from files."""

LEVELS = [0.0, 0.5, 0.9, 0.5, 0.99, 0.1]
SEEDS = [3, 1, 4, 1, 5, 9]
MASK = torch.arange(5) < torch.tensor([[5], [3], [4], [2], [5], [3]])


class Case:
    """A class of perturbations, made for features of any size."""

    def __init__(self, make: Callable[[Path, int], Perturbation], folder: Path) -> None:
        self.make, self.folder = make, folder

    def __call__(
        self,
        feature: Tensor,
        levels: Tensor,
        seeds: list[int],
        mask: Tensor | None = None,
        rows: Sequence[int] | None = None,
    ) -> Tensor:
        """Perturb features as a sweep does, of the inputs ``rows``; by default all of one input."""
        chosen, origin = [0] * len(feature) if rows is None else list(rows), None
        perturbation = self.make(self.folder, feature[0].numel())
        if perturbation.needs_origin:
            extractor = OrthonormalLinear((1, 2, 2), expansion=feature[0].numel() / 4)
            names, others = [str(row) for row in chosen], {str(row): x for row, x in enumerate(INPUTS)}
            origin = Origin(extractor, "linear", INPUTS[chosen], feature, names, others=others)
        return perturb_rows(perturbation, feature, levels, seeds, mask, origin)


@pytest.fixture(params=PERTURBATIONS)
def perturbation(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    return Case(PERTURBATIONS[request.param], tmp_path)


def features(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Skewed features away from zero, as activations are."""
    return 1 + torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype).exp()


def levels(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_every_class_has_an_entry(tmp_path: Path) -> None:
    assert {type(make(tmp_path, 8)) for make in PERTURBATIONS.values()} | NO_RULE == concrete_classes(Perturbation)


def test_level_0_returns_any_feature_to_the_bit(perturbation: Case) -> None:
    feature = torch.stack([features(10), torch.full((10,), 0.5), torch.full((10,), -0.0)])
    perturbed = perturbation(feature, levels(0, 0, 0), [0, 1, 2])
    assert torch.equal(perturbed.view(torch.int32), feature.view(torch.int32))
    assert perturbed.data_ptr() != feature.data_ptr()


@pytest.mark.parametrize("perturbation", DIRECTED, indirect=True)
def test_a_seed_has_one_direction_at_every_level(perturbation: Case) -> None:
    feature = features(1, 100, dtype=torch.float64).expand(4, 100)
    steps = perturbation(feature, levels(0.1, 0.5, 0.9, 0.99), [1] * 4) - feature
    directions = steps / steps.norm(dim=1, keepdim=True)
    torch.testing.assert_close(directions, directions[:1].expand(4, 100))
    assert (steps.norm(dim=1).diff() > 0).all()


@pytest.mark.parametrize("perturbation", ISOTROPIC, indirect=True)
def test_seeds_are_independent(perturbation: Case) -> None:
    dimension = 10**4
    feature = features(1, dimension).expand(8, dimension)
    steps = perturbation(feature, levels(*[0.5] * 8), list(range(8))) - feature
    correlations = np.corrcoef(steps.double().numpy())[np.triu_indices(8, 1)]
    # the correlation of independent noises has a standard deviation of 1/√D; five of them
    assert np.abs(correlations).max() < 5 / math.sqrt(dimension)


@pytest.mark.parametrize(
    ("perturbation", "mask"),
    [*((name, None) for name in PERTURBATIONS), *((name, MASK) for name in FOR_TEXTS)],
    indirect=["perturbation"],
)
def test_a_feature_is_moved_alone_as_in_any_batch_and_order(perturbation: Case, mask: Tensor | None) -> None:
    batch = features(6, 5, 8)

    def moved(rows: list[int]) -> Tensor:
        part = None if mask is None else mask[rows]
        return perturbation(batch[rows], levels(*LEVELS)[rows], [SEEDS[row] for row in rows], part, rows)

    together, order = moved([*range(6)]), [4, 2, 0, 5, 1, 3]
    assert torch.equal(torch.cat([moved([row]) for row in range(6)]), together)
    assert torch.equal(moved(order), together[order])
    if mask is not None:  # padding stays, and a text has the noise it has without
        assert torch.equal(together[~mask], batch[~mask])
        short = perturbation(batch[1:2, :3], levels(LEVELS[1]), SEEDS[1:2])
        torch.testing.assert_close(together[1, :3], short[0])


def test_the_global_generator_is_neither_read_nor_moved(perturbation: Case) -> None:
    feature, state = features(1, 100), torch.get_rng_state()
    first = perturbation(feature, levels(0.5), [1])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(perturbation(feature, levels(0.5), [1]), first)


@pytest.mark.parametrize("perturbation", [*ISOTROPIC, "residuals"], indirect=True)
def test_the_noise_is_the_same_in_every_precision(perturbation: Case) -> None:
    """Of a Trainer, that is, whose double precision changes the default type in a step, but not outside."""
    feature = features(1, 100)
    first = perturbation(feature, levels(0.5), [1])
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(perturbation(feature, levels(0.5), [1]), first)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("perturbation", ISOTROPIC, indirect=True)
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("dimension", [10, 100])
def test_the_realised_distance_is_the_level_on_average(perturbation: Case, dimension: int, level: float) -> None:
    draws = 1000
    feature = features(1, dimension, dtype=torch.float64).expand(draws, dimension)
    moved = perturbation(feature, levels(*[level] * draws), list(range(draws)))
    found = [1 - np.corrcoef(feature[0].numpy(), row)[0, 1] for row in moved.numpy()]
    # the standard error is at most 1/√(D · draws), and a correlation has a bias of order 1/D
    assert np.mean(found) == pytest.approx(level, abs=4 / math.sqrt(dimension * draws) + 1 / (2 * dimension))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_type_are_the_features_which_is_left_as_it_is(perturbation: Case, dtype: torch.dtype) -> None:
    feature = features(2, 3, 4, 5).to(dtype)
    before = feature.clone()
    perturbed = perturbation(feature, levels(0.5, 0.9), [0, 1])
    assert (perturbed.shape, perturbed.dtype) == (feature.shape, dtype)
    assert torch.equal(feature, before)
    assert not torch.equal(perturbed, feature)


@pytest.mark.parametrize("level", [-0.1, 1.0, 1.5, math.nan, math.inf])
def test_a_level_outside_0_to_1_is_refused(perturbation: Case, level: float) -> None:
    with pytest.raises(ReadoutError, match="of at least 0 and below 1"):
        perturbation(features(1, 10), levels(level), [0])
