"""Small sweeps, and Ctrl-C pressed in the middle of them."""

import io
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from torch import Tensor
from torch.optim import LBFGS, SGD, AdamW

from readout import load_results
from readout.common.signals import SIGNALS
from readout.data import InputData, UniformNoise
from readout.priors import CosinePixels, DeepImagePrior, Pixels, Prior
from readout.readouts import (
    BatchedLBFGS,
    DiscrepancyProtocol,
    FastProtocol,
    FeatureInversion,
    ImageInversion,
    Readout,
    WhitenedError,
)
from readout.store import ResultStore
from readout.sweep import Sweep
from readout.sweep.runtime import Runtime
from tests.helpers import CPU
from tests.tiny import TinyNet

STEPS = 40
LEVELS = [0.0, 0.3, 0.5, 0.7]


class InterruptAt(Callback):
    """Presses Ctrl-C at the given steps, counted over all fits that have this as a callback."""

    def __init__(self, *at: int, number: int = signal.SIGINT) -> None:
        self.at, self.number, self.seen = at, number, 0
        self.begun: list[int] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Readout)
        self.begun.append(pl_module.steps_taken)
        torch.manual_seed(0)  # for priors that draw from the global generator

    def on_train_batch_end(self, *_: Any) -> None:
        self.seen += 1
        if self.seen in self.at:
            os.kill(os.getpid(), self.number)


@contextmanager
def hearing_signals() -> Iterator[None]:
    """Hear signals that the shell has us ignore: Ctrl-C in its background, a hang-up under nohup."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def dip() -> FeatureInversion:
    return _image(DeepImagePrior(filters=[4, 8]), 0.01)


def dip_that_leaves() -> FeatureInversion:
    return _image(DeepImagePrior(filters=[4, 8]), 0.02, protocol=DiscrepancyProtocol(slack=0.3))


def dip_of_latents() -> FeatureInversion:
    return _image(DeepImagePrior(filters=[4, 8], optimize="latent"), 0.05, protocol=FastProtocol(), lr_schedule=None)


def pixels_that_leave() -> FeatureInversion:
    return _image(Pixels(total_variation=0.01), 0.05, protocol=DiscrepancyProtocol())


def cosine_pixels_that_leave() -> FeatureInversion:
    prior, loss = CosinePixels(smoothness=0.1, half_life=5), WhitenedError(UniformNoise(20, (3, 16, 16), seed=5))
    settings: dict[str, Any] = {"optimizer": BatchedLBFGS, "lr_schedule": None, "protocol": DiscrepancyProtocol()}
    return _image(prior, 0.0, loss=loss, **settings)


def pixels_by_momentum() -> FeatureInversion:
    return _image(Pixels(), 0.5, optimizer=lambda parameters: SGD(parameters, lr=0.5, momentum=0.9))


def pixels_by_curvature() -> FeatureInversion:
    """An optimiser that couples problems, so each runs by itself."""
    return _image(Pixels(), 0.0, optimizer=lambda parameters: LBFGS(parameters, max_iter=3, history_size=5))


def pixels_that_die() -> FeatureInversion:
    return _image(Mortal(), 0.05, max_restarts=2)


class Mortal(Pixels):
    """Dies half of the times once it sees anything, and draws from the global generator."""

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        super().initialise(seeds, input_shape)
        self.dying = torch.tensor([seed % 2 == 0 for seed in seeds])

    def keep(self, rows: Tensor) -> bool:
        self.dying = self.dying[rows]
        return super().keep(rows)

    def forward(self) -> Tensor:
        return super().forward() + 1e-3 * torch.randn(3, 16, 16)

    def is_dead(self, recovered: Tensor) -> Tensor:
        return self.dying & (recovered.flatten(1).std(1) > 0.1)


def _image(prior: Prior, lr: float, **more: Any) -> FeatureInversion:
    settings = {"optimizer": lambda parameters: AdamW(parameters, lr=lr), "metrics": [], "record_every": 5, **more}
    return ImageInversion(TinyNet(), prior, **settings)


def noise() -> InputData:
    return UniformNoise(count=2, shape=(3, 16, 16))


def run(
    folder: Path,
    readout: Readout,
    data: InputData,
    *callbacks: Callback,
    steps: int = STEPS,
    precision: str = "32-true",
    **sweep: Any,
) -> tuple[str, pd.DataFrame]:
    settings = {"layers": ["middle"], "levels": LEVELS, "batch_size": 4, "output": str(folder), **sweep}
    trainer = {**CPU, "max_steps": steps, "precision": precision, "callbacks": list(callbacks) or [InterruptAt()]}
    runtime = Runtime(trainer, seed=3)
    console = Console(file=io.StringIO(), width=400)
    Sweep(**settings).measure(readout, data, runtime, console, report=False)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    return said, load_results(folder, trajectories=True)


def assert_same_bits(folder: Path, whole: Path) -> None:
    found, expected = (load_results(one, trajectories=True).drop(columns="seconds") for one in (folder, whole))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    recovered = [ResultStore(one).load_recovered(expected["key"]) for one in (folder, whole)]
    assert all(torch.equal(recovered[0][key], recovered[1][key]) for key in expected["key"])


def checkpoint(folder: Path) -> dict[str, Any]:
    """The one that is there."""
    (path,) = (folder / "checkpoints").glob("*.ckpt")
    return torch.load(path, weights_only=True)


def interrupt(folder: Path, inversion: FeatureInversion, data: InputData, at: int, **sweep: Any) -> str:
    """What is said when a sweep is interrupted at a step."""
    with pytest.raises(KeyboardInterrupt) as stopped:
        run(folder, inversion, data, InterruptAt(at), **sweep)
    return str(stopped.value)
