"""readout's inversion, as a sweep runs it."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.pace import Pace, resident_bytes
from benchmarks.work import FILTERS, Work, network, optimizer, photograph, problem_batch
from readout.common.memory import keep_freed_memory
from readout.priors import DeepImagePrior, Pixels, Prior
from readout.readouts import FeatureInversion, ImageInversion
from readout.sweep.probe import probe
from readout.sweep.runtime import Runtime

ENDLESS = 10**9
"""Number of steps that no driver reaches."""


def run(work: Work) -> None:
    """Invert a batch of problems."""
    if "kept memory" not in work.without:
        keep_freed_memory()
    extractor = network(work)
    if "channels last" in work.without:
        type(extractor).channels_last = False
    image = photograph(work, extractor)
    flops = _flops(work, extractor, image)
    runtime = Runtime(trainer={**where(work.device), "max_steps": ENDLESS, "precision": work.precision})
    inversion = ImageInversion(extractor, _prior(work), optimizer=_optimizer(work))
    count = work.problems or _automatic(work, inversion, image, runtime)
    pace = Pace(count, work.device, flops=flops, base_bytes=resident_bytes())
    inversion.load(problem_batch(work, image, count))
    runtime.make_bare_trainer(paced(pace)).fit(inversion, range(ENDLESS))


def paced(pace: Pace) -> Callback:
    """Return a callback that keeps the driver's pace and times the parts of each step."""
    return _Paced(pace)


class _Plain(DeepImagePrior):
    """A prior with generators under vmap, as on devices without grouped convolutions or kernels."""

    def forward(self) -> Tensor:
        return self.one_by_one()

    def lay_out(self, device: torch.device) -> None:
        return


def _prior(work: Work) -> Prior:
    if work.prior == "pixels":
        return Pixels()
    prior = (_Plain if "one network" in work.without else DeepImagePrior)(filters=FILTERS)
    if "eager" in work.without:
        prior.forward = torch.compile(prior.forward, dynamic=False)  # type: ignore[method-assign]
    return prior


def _optimizer(work: Work) -> Any:
    if "fused update" not in work.without:
        return optimizer
    return lambda parameters: torch.optim.AdamW(parameters, lr=1e-4, fused=False)


def _automatic(work: Work, inversion: FeatureInversion, image: Tensor, runtime: Runtime) -> int:
    most = range(max(FeatureInversion.batch_limit.values()))
    return probe(inversion, most, lambda some: problem_batch(work, image, len(some)), "auto", runtime)[1]


def where(device: str) -> dict[str, Any]:
    """Return a Trainer's arguments for a device."""
    return {"accelerator": "gpu" if device == "cuda" else device, "devices": 1}


def _flops(work: Work, extractor: Any, image: Tensor) -> int:
    """Count multiplications and additions per step and problem, forward and backward."""
    prior = Pixels() if work.prior == "pixels" else _Plain(filters=FILTERS)
    prior.initialise([0], image.shape)
    with FlopCounterMode(display=False) as counter:
        extractor.extract(prior(), work.layer).square().sum().backward()
    return int(counter.get_total_flops())


class _Paced(Callback):
    """A callback that keeps the driver's pace and times the parts of a step: generator and encoder, both ways."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._inside = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, FeatureInversion)
        for owner, method, part in ((pl_module.prior, "forward", "generator"), (pl_module, "_extract", "encoder")):
            # once per fit; the instance's attribute hides the class's
            setattr(owner, method, self._booked(getattr(owner, method), part))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.pace()
        self._mark, self._inside = self._now(), 0.0

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        now = self._now()
        self.pace.add("loss and record", now - self._mark - self._inside)
        self._mark = now

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._lap("generator")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        self._mark = self._now()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._lap("optimiser")

    def _booked(self, method: Any, part: str) -> Any:
        def timed(*arguments: Any) -> Any:
            started = self._now()
            result: Any = method(*arguments)
            if part == "generator" and result.requires_grad:
                # the backward pass calls this hook when it has left the encoder
                result.register_hook(lambda gradient: self._lap("encoder"))
            took = self._now() - started
            self._inside += took
            self.pace.add(part, took)
            return result

        return timed

    def _lap(self, part: str) -> None:
        now = self._now()
        self.pace.add(part, now - self._mark)
        self._mark = now

    def _now(self) -> float:
        if self.pace.device.type == "cuda":
            torch.cuda.synchronize(self.pace.device)
        return time.perf_counter()
