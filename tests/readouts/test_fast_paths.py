"""What is fast against what is plain: one problem after another, vmap, NCHW, an optimiser that loops."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.optim import AdamW

from readout.perturbations import GaussianPerturbation
from readout.priors import DeepImagePrior, Pixels, Prior
from readout.readouts import ImageInversion, Outcome, ProblemBatch
from tests.helpers import runtime
from tests.tiny import TinyNet

LEVELS = (0.0, 0.3, 0.9)
THRESHOLD = 0.1


class Fast(TinyNet):
    channels_last = True


class PlainPrior(DeepImagePrior):
    def forward(self) -> Tensor:
        return self.one_by_one()

    def lay_out(self, device: torch.device) -> None:
        return


def fast_dip() -> Prior:
    return DeepImagePrior(filters=[8, 16])


def plain_dip() -> Prior:
    return PlainPrior(filters=[8, 16])


def solve(
    extractor: TinyNet, prior: Prior, rows: list[int], lr: float, precision: str, steps: int, foreach: bool | None
) -> Outcome:
    inversion = ImageInversion(
        extractor, prior, optimizer=lambda params: AdamW(params, lr=lr, foreach=foreach), metrics=[], record_every=1
    )
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    image = torch.nn.functional.interpolate(coarse, size=20, mode="bilinear")
    problems = ProblemBatch(
        inputs=image.repeat(len(rows), 1, 1, 1),
        layer="early",
        levels=torch.tensor([LEVELS[row] for row in rows], dtype=torch.float64),
        noise_seeds=[100 + row for row in rows],
        prior_seeds=[200 + row for row in rows],
        perturbation=GaussianPerturbation(),
    )
    inversion.load(problems)
    runtime(steps, precision).make_bare_trainer().fit(inversion, range(steps))
    assert inversion.outcome is not None
    return inversion.outcome


def fast(prior: Prior, lr: float, precision: str, steps: int) -> Outcome:
    return solve(Fast(), prior, [2, 0, 1], lr, precision, steps, foreach=None)


def plain(prior: Callable[[], Prior], lr: float, precision: str, steps: int) -> list[Outcome]:
    return [solve(TinyNet(), prior(), [row], lr, precision, steps, foreach=False) for row in (2, 0, 1)]


@pytest.mark.parametrize(("precision", "lr", "bound"), [("64-true", 1e-3, 1e-8), ("32-true", 1e-4, 1e-3)])
@pytest.mark.parametrize(("quick", "slow"), [(fast_dip, plain_dip), (Pixels, Pixels)])
def test_the_fast_path_follows_the_plain_one(
    quick: Callable[[], Prior], slow: Callable[[], Prior], precision: str, lr: float, bound: float
) -> None:
    together = fast(quick(), lr, precision, 40)
    for place, alone in enumerate(plain(slow, lr, precision, 40)):
        for curve in ("loss", "distance"):
            found, expected = (outcome.trajectory.stacked(curve) for outcome in (together, alone))
            torch.testing.assert_close(found[:, place], expected[:, 0], rtol=bound, atol=bound)
        torch.testing.assert_close(together.floor[place], alone.floor[0], rtol=1e-5, atol=1e-7)


def test_verdicts_are_those_of_the_plain_path_in_float32() -> None:
    alone = plain(plain_dip, 5e-3, "32-true", 120)
    distances = torch.cat([outcome.distance for outcome in alone])
    assert (distances < THRESHOLD).tolist() == [False, True, False]
    for precision in ("32-true", "bf16-mixed"):
        together = fast(fast_dip(), 5e-3, precision, 120)
        assert (together.distance < THRESHOLD).tolist() == [False, True, False]
        torch.testing.assert_close(together.distance, distances, rtol=0.2, atol=0.01)
