from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from readout.extractors import FeatureExtractor
from readout.perturbations import GaussianPerturbation
from readout.priors import CosinePixels
from readout.readouts import BatchedLBFGS, ImageInversion, ProblemBatch
from tests.helpers import runtime

STEEPNESS = torch.logspace(0, 2, 6, dtype=torch.float64)


def path(optimizer: Optimizer, x: Tensor, loss: Callable[[Tensor], Tensor], steps: int) -> Tensor:
    """Values after each step."""
    seen = []
    for _ in range(steps):

        @torch.enable_grad()
        def closure() -> Tensor:
            optimizer.zero_grad()
            value = loss(x)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(closure)  # type: ignore[arg-type]
        seen.append(x.detach().clone())
    return torch.stack(seen)


def quadratic(x: Tensor) -> Tensor:
    return (STEEPNESS * (x - 0.1).square()).sum()


@pytest.mark.parametrize("history", [1, 3, 20])
def test_one_problem_moves_as_by_pytorchs_l_bfgs(history: int) -> None:
    x, y = (nn.Parameter(torch.zeros(1, 6, dtype=torch.float64)) for _ in range(2))
    plain = LBFGS([x], lr=1, max_iter=1, history_size=history, tolerance_change=0, tolerance_grad=0)
    expected = path(plain, x, quadratic, 12)
    # PyTorch's first step is the gradient over its sum of absolute values
    first = expected[0].square().mean().sqrt().item()
    assert expected.diff(dim=0).square().mean(2).sqrt().max() < first  # so no step meets the limit
    torch.testing.assert_close(path(BatchedLBFGS([y], first, history), y, quadratic, 12), expected)


def test_a_quadratic_of_any_scale_is_minimised() -> None:
    scale = torch.tensor([[1e-6], [1.0], [1e6]], dtype=torch.float64)
    x = nn.Parameter(torch.zeros(3, 6, dtype=torch.float64))
    *_, last = path(BatchedLBFGS([x], lr=1.0), x, lambda x: (scale * STEEPNESS * (x - 1).square()).sum(), 40)
    torch.testing.assert_close(last, torch.ones_like(last))


def test_no_step_is_longer_than_its_limit_and_none_climbs() -> None:
    """On a function with regions of negative curvature, whose pairs are left out."""
    x = nn.Parameter(torch.linspace(-3, 3, 8, dtype=torch.float64).view(4, 2))
    start = x.detach().clone()
    moved = path(BatchedLBFGS([x], lr=0.1), x, lambda x: (x.square() / 4 + x.cos()).sum(), 100)
    steps = torch.cat([start.unsqueeze(0), moved]).diff(dim=0)
    assert steps.square().mean(2).sqrt().max() <= 0.1 + 1e-12
    root = 1.895494267033981  # where x / 2 = sin x
    torch.testing.assert_close(moved[-1].abs(), torch.full_like(start, root))


def test_a_problem_that_is_not_finite_harms_no_other() -> None:
    x = nn.Parameter(torch.zeros(2, 6, dtype=torch.float64))
    faulty = torch.tensor([[torch.nan], [1.0]], dtype=torch.float64)
    *_, last = path(BatchedLBFGS([x], lr=0.3), x, lambda x: (faulty * STEEPNESS * (x - 1).square()).sum(), 40)
    torch.testing.assert_close(last[1], torch.ones(6, dtype=torch.float64))


def test_through_an_identity_a_second_step_is_exact() -> None:
    """There the curvature is the same in all directions, so one pair tells all of it."""
    extractor = FeatureExtractor(nn.Sequential(nn.Identity()), layers={"same": "0"})
    prior = CosinePixels(falloff=0.0, chroma=1.0)
    optimizer = partial(BatchedLBFGS, lr=1.0)
    inversion = ImageInversion(extractor, prior, metrics=[], optimizer=optimizer, lr_schedule=None)
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    inversion.load(
        ProblemBatch(
            inputs=images,
            layer="same",
            levels=torch.zeros(3, dtype=torch.float64),
            noise_seeds=[0, 1, 2],
            prior_seeds=[3, 4, 5],
            perturbation=GaussianPerturbation(),
        )
    )
    runtime(2).make_bare_trainer().fit(inversion, range(2))
    assert inversion.outcome is not None
    torch.testing.assert_close(inversion.outcome.recovered, images, rtol=0, atol=1e-5)
