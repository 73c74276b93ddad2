"""Problems of a batch stay apart: parts that couple them are found, and those that do not are left alone."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from readout.common.errors import ReadoutError
from readout.metrics import SampleMetric
from readout.perturbations import GaussianPerturbation, Perturbation
from readout.priors import DeepImagePrior, Pixels, Prior
from readout.readouts import FeatureInversion, FeatureLoss, ImageInversion, PaperProtocol
from readout.sweep.independence import check_independent
from readout.sweep.runtime import quiet_lightning
from tests.helpers import runtime
from tests.readouts.test_base import batch
from tests.tiny import TinyNet


class SharedNet(Pixels):
    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        super().initialise(seeds, input_shape)
        self.net = nn.Conv2d(3, 3, 1)
        nn.init.dirac_(self.net.weight)

    def forward(self) -> Tensor:
        image: Tensor = self.net(self.pixels)
        return image


class BatchNorm(Pixels):
    def forward(self) -> Tensor:
        return nn.functional.batch_norm(self.pixels, None, None, training=True)


class Slight(Pixels):
    def forward(self) -> Tensor:
        return self.pixels + 1e-4 * self.pixels.mean()


class SameForAll(Pixels):
    def penalty(self, recovered: Tensor) -> Tensor:
        return (recovered - recovered.mean(0)).square().flatten(1).mean(1)


class DiesTogether(Pixels):
    def is_dead(self, recovered: Tensor) -> Tensor:
        return recovered.flatten(1).std(1) < recovered.std()


class Relative(FeatureLoss):
    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        losses = (feature - target).square().flatten(1).mean(1)
        return losses / losses.detach().sum()


class Remembers(Relative):
    seen: Tensor | None = None

    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        losses = (feature - target).square().flatten(1).mean(1)
        scale = 1.0 if self.seen is None else self.seen
        self.seen = losses.detach().mean()
        return losses / scale


class ByTheBatch(GaussianPerturbation):
    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        return super().__call__(feature, levels, seeds) * feature.std()


class Ranked(PaperProtocol):
    def reached(self, loss: Tensor, floor: Tensor) -> Tensor:
        return loss <= floor.mean()


class Whitened(SampleMetric):
    name = "whitened"
    higher_is_better = False

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        return (recovered - true).square().flatten(1).mean(1) / true.var()


class NormsGradients(ImageInversion):
    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        nn.utils.clip_grad_norm_(self.prior.parameters(), 1e-6)


class Averages(ImageInversion):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) / len(self.problems)


class Clips(Callback):
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        nn.utils.clip_grad_norm_(pl_module.parameters(), 1e-6)


class OwnInversion(ImageInversion):
    """Couples nothing."""


class Clamps(Callback):
    """The same."""

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        nn.utils.clip_grad_value_(pl_module.parameters(), 1e-6)


def check(inversion: FeatureInversion, *callbacks: Callback, moved_by: Perturbation | None = None) -> None:
    """As sweeps do, after a probe."""
    problem = batch([4])
    made = runtime(1)
    inversion.load(problem)
    with quiet_lightning():
        made.make_bare_trainer().fit(inversion, range(1))
        example = type(problem)(**{**vars(problem), "perturbation": moved_by or problem.perturbation})
        made = type(made)(trainer={**made.trainer, "callbacks": list(callbacks)})
        check_independent(inversion, example, made)


def inversion(prior: Prior | None = None, kind: type[ImageInversion] = ImageInversion, **parts: Any) -> ImageInversion:
    return kind(TinyNet(), prior or Pixels(), **{"metrics": [], **parts})


@pytest.mark.parametrize(
    "coupling",
    [
        inversion(SharedNet()),
        inversion(BatchNorm()),
        inversion(Slight()),
        inversion(SameForAll()),
        inversion(DiesTogether()),
        inversion(loss=Relative()),
        inversion(loss=Remembers()),
        inversion(protocol=Ranked()),
        inversion(metric=Whitened()),
        inversion(metrics=[Whitened()]),
        inversion(kind=NormsGradients),
        inversion(kind=Averages),
    ],
    ids=lambda each: f"{type(each).__name__}-{type(each.prior).__name__}-{type(each.loss).__name__}",
)
def test_what_couples_problems_is_named(coupling: ImageInversion) -> None:
    parts = (coupling, coupling.prior, coupling.loss, coupling.protocol, coupling.metric, *coupling.metrics)
    (named,) = (type(part).__name__ for part in parts if type(part).__module__ == __name__)
    with pytest.raises(ReadoutError, match=f"^{named} lets the problems of a batch change each other"):
        check(coupling)


def test_a_perturbation_and_a_callback_that_couple_problems_are_named() -> None:
    with pytest.raises(ReadoutError, match=r"^ByTheBatch lets"):
        check(inversion(), moved_by=ByTheBatch())
    with pytest.raises(ReadoutError, match=r"^Clips lets"):
        check(inversion(), Clamps(), Clips())


@pytest.mark.parametrize(
    "apart",
    [
        inversion(),
        inversion(DeepImagePrior(filters=[8, 16, 16])),
        inversion(DeepImagePrior(filters=[4, 8], optimize="latent"), kind=OwnInversion),
    ],
)
def test_rounding_is_no_coupling(apart: ImageInversion) -> None:
    before, weights = torch.get_rng_state(), [each.clone() for each in apart.extractor.parameters()]
    check(apart, Clamps())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == torch.float32
    assert all(map(torch.equal, weights, apart.extractor.parameters()))
