"""Problems that are done leave their batch; what is left goes on as if nothing had happened."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, AdamW

from readout.perturbations import GaussianPerturbation
from readout.priors import DeepImagePrior, Pixels, Prior
from readout.readouts import BatchedLBFGS, DiscrepancyProtocol, ImageInversion, Outcome, ProblemBatch
from readout.readouts.inversion.optimizers import can_drop_rows, keep_rows
from tests.helpers import runtime
from tests.tiny import TinyNet

STEPS = 120
LEVELS = [0.0, 0.3, 0.7, 0.5]


class Counting(TinyNet):
    """Counts the rows that each step takes through the network."""

    channels_last = True

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def extract(self, x: Tensor, layer: str) -> Tensor:
        self.rows.append(len(x))
        return super().extract(x, layer)


class StayingDip(DeepImagePrior):
    def keep(self, rows: Tensor) -> bool:
        return False


class StayingPixels(Pixels):
    def keep(self, rows: Tensor) -> bool:
        return False


class PlainDip(DeepImagePrior):
    """Generators by vmap, as on other devices."""

    def forward(self) -> Tensor:
        return self.one_by_one()


def solve(prior: Prior, lr: float, precision: str = "64-true", optimizer: Any = AdamW) -> tuple[Outcome, list[int]]:
    extractor = Counting()
    inversion = ImageInversion(
        extractor,
        prior,
        optimizer=lambda parameters: optimizer(parameters, lr=lr),
        protocol=DiscrepancyProtocol(),
        metrics=[],
        record_every=5,
    )
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    image = torch.nn.functional.interpolate(coarse, size=20, mode="bilinear")
    problems = ProblemBatch(
        inputs=image.repeat(len(LEVELS), 1, 1, 1),
        layer="early",
        levels=torch.tensor(LEVELS, dtype=torch.float64),
        noise_seeds=[100 + row for row in range(len(LEVELS))],
        prior_seeds=[200 + row for row in range(len(LEVELS))],
        perturbation=GaussianPerturbation(),
    )
    inversion.load(problems)
    runtime(STEPS, precision).make_bare_trainer().fit(inversion, range(STEPS))
    assert inversion.outcome is not None
    return inversion.outcome, extractor.rows


@pytest.mark.parametrize(
    ("leaving", "staying", "lr"),
    [
        (DeepImagePrior(filters=[8, 16]), StayingDip(filters=[8, 16]), 5e-3),
        (PlainDip(filters=[8, 16]), StayingDip(filters=[8, 16]), 5e-3),
        (Pixels(), StayingPixels(), 0.05),
    ],
)
def test_leaving_changes_no_answer(leaving: Prior, staying: Prior, lr: float) -> None:
    outcome, rows = solve(leaving, lr)
    expected, all_rows = solve(staying, lr)
    assert set(all_rows) == {4}
    assert sum(rows) < 0.8 * sum(all_rows)  # the network is spared those that are done
    assert rows == [4, *sorted(rows[1:-1], reverse=True), 4]  # target, steps, scores
    assert outcome.steps.tolist() == expected.steps.tolist()
    assert outcome.steps[0] == STEPS  # without noise the floor is 0
    assert 0 < min(outcome.steps.tolist()) < STEPS
    for name in ("recovered", "distance", "loss", "best_distance", "recovered_feature_distance"):
        torch.testing.assert_close(getattr(outcome, name), getattr(expected, name), rtol=1e-6, atol=1e-9)
    for curve in ("loss", "distance", "recovered_feature_distance"):
        found, plain = (result.trajectory.stacked(curve) for result in (outcome, expected))
        torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-9, equal_nan=True)


def test_an_optimiser_with_a_state_of_its_own_keeps_everyone() -> None:
    class Hoarder(SGD):
        def step(self, *arguments: Any, **options: Any) -> Any:
            for group in self.param_groups:
                for parameter in group["params"]:
                    self.state[parameter]["history"] = torch.zeros(3)
            return super().step(*arguments, **options)

    _, rows = solve(Pixels(), 50.0, optimizer=Hoarder)
    assert set(rows) == {4}


@pytest.mark.parametrize("kind", [AdamW, Adagrad, SGD, BatchedLBFGS])
def test_state_stays_with_its_rows(kind: Any) -> None:
    def steps(values: Tensor, leaving: bool) -> Tensor:
        parameter = torch.nn.Parameter(values.clone())
        optimizer = kind([parameter], lr=0.1)
        for step in range(6):
            if step == 3 and leaving:
                assert can_drop_rows(optimizer)
                with keep_rows(optimizer, torch.tensor([0, 2])):
                    parameter.data = parameter.data[[0, 2]]
            optimizer.zero_grad()
            (parameter**4).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return parameter.detach()

    values = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(steps(values, leaving=True), steps(values, leaving=False)[[0, 2]], rtol=0, atol=0)
