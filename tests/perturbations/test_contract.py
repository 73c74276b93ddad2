"""Rules for every perturbation; a new class is one entry of :data:`PERTURBATIONS`."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.external.features import ExternalFeatures
from readout.perturbations import GaussianPerturbation, Perturbation
from tests.tiny import concrete_classes

PERTURBATIONS: dict[str, Callable[[], Perturbation]] = {
    "gaussian": GaussianPerturbation,
    "gaussian, exact": lambda: GaussianPerturbation("exact"),
}
NO_RULE = {ExternalFeatures}
"""Classes that move a feature to no level: theirs come from files."""

LEVELS = [0.0, 0.5, 0.9, 0.5, 0.99, 0.1]
SEEDS = [3, 1, 4, 1, 5, 9]
MASK = torch.arange(5) < torch.tensor([[5], [3], [4], [2], [5], [3]])


@pytest.fixture(params=PERTURBATIONS)
def perturbation(request: pytest.FixtureRequest) -> Perturbation:
    return PERTURBATIONS[request.param]()


def features(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Skewed features away from zero, as activations are."""
    return 1 + torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype).exp()


def levels(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_every_class_has_an_entry() -> None:
    assert {type(make()) for make in PERTURBATIONS.values()} | NO_RULE == concrete_classes(Perturbation)


def test_level_0_returns_any_feature_to_the_bit(perturbation: Perturbation) -> None:
    feature = torch.stack([features(10), torch.full((10,), 0.5), torch.full((10,), -0.0)])
    perturbed = perturbation(feature, levels(0, 0, 0), [0, 1, 2])
    assert torch.equal(perturbed.view(torch.int32), feature.view(torch.int32))
    assert perturbed.data_ptr() != feature.data_ptr()


def test_a_seed_has_one_direction_at_every_level(perturbation: Perturbation) -> None:
    feature = features(1, 100, dtype=torch.float64).expand(4, 100)
    steps = perturbation(feature, levels(0.1, 0.5, 0.9, 0.99), [1] * 4) - feature
    directions = steps / steps.norm(dim=1, keepdim=True)
    torch.testing.assert_close(directions, directions[:1].expand(4, 100))
    assert (steps.norm(dim=1).diff() > 0).all()


def test_seeds_are_independent(perturbation: Perturbation) -> None:
    dimension = 10**4
    feature = features(1, dimension).expand(8, dimension)
    steps = perturbation(feature, levels(*[0.5] * 8), list(range(8))) - feature
    correlations = np.corrcoef(steps.double().numpy())[np.triu_indices(8, 1)]
    # the correlation of independent noises has a standard deviation of 1/√D; five of them
    assert np.abs(correlations).max() < 5 / math.sqrt(dimension)


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "padded"])
def test_a_feature_is_moved_alone_as_in_any_batch_and_order(perturbation: Perturbation, mask: Tensor | None) -> None:
    batch = features(6, 5, 8)

    def moved(rows: list[int]) -> Tensor:
        part = None if mask is None else mask[rows]
        return perturbation(batch[rows], levels(*LEVELS)[rows], [SEEDS[row] for row in rows], part)

    together, order = moved([*range(6)]), [4, 2, 0, 5, 1, 3]
    assert torch.equal(torch.cat([moved([row]) for row in range(6)]), together)
    assert torch.equal(moved(order), together[order])
    if mask is not None:  # padding stays, and a text has the noise it has without
        assert torch.equal(together[~mask], batch[~mask])
        short = perturbation(batch[1:2, :3], levels(LEVELS[1]), SEEDS[1:2])
        torch.testing.assert_close(together[1, :3], short[0])


def test_the_global_generator_is_neither_read_nor_moved(perturbation: Perturbation) -> None:
    feature, state = features(1, 100), torch.get_rng_state()
    first = perturbation(feature, levels(0.5), [1])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(perturbation(feature, levels(0.5), [1]), first)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("dimension", [10, 100])
def test_the_realised_distance_is_the_level_on_average(
    perturbation: Perturbation, dimension: int, level: float
) -> None:
    draws = 1000
    feature = features(1, dimension, dtype=torch.float64).expand(draws, dimension)
    moved = perturbation(feature, levels(*[level] * draws), list(range(draws)))
    found = [1 - np.corrcoef(feature[0].numpy(), row)[0, 1] for row in moved.numpy()]
    # the standard error is at most 1/√(D · draws), and a correlation has a bias of order 1/D
    assert np.mean(found) == pytest.approx(level, abs=4 / math.sqrt(dimension * draws) + 1 / (2 * dimension))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_type_are_the_features_which_is_left_as_it_is(perturbation: Perturbation, dtype: torch.dtype) -> None:
    feature = features(2, 3, 4, 5).to(dtype)
    before = feature.clone()
    perturbed = perturbation(feature, levels(0.5, 0.9), [0, 1])
    assert (perturbed.shape, perturbed.dtype) == (feature.shape, dtype)
    assert torch.equal(feature, before)
    assert not torch.equal(perturbed, feature)


@pytest.mark.parametrize("level", [-0.1, 1.0, 1.5, math.nan, math.inf])
def test_a_level_outside_0_to_1_is_refused(perturbation: Perturbation, level: float) -> None:
    with pytest.raises(ReadoutError, match="of at least 0 and below 1"):
        perturbation(features(1, 10), levels(level), [0])
