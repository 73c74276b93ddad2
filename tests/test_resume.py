"""A sweep that is interrupted anywhere and run again ends in the same bits as one that never was."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from torch import Tensor
from torch.optim import SGD, AdamW

from readout import load_results
from readout.data import InputData, SampleText, UniformNoise
from readout.extractors import BERT, LanguageModel
from readout.inversions import (
    DiscrepancyProtocol,
    FastProtocol,
    FeatureInversion,
    ImageInversion,
    TextInversion,
    TokenSearch,
)
from readout.priors import DeepImagePrior, Pixels, Prior, TokenLogits
from readout.store import ResultStore
from readout.sweep import Sweep
from tests.helpers import CPU
from tests.tiny import TinyNet
from tests.tiny_text import save_tiny
from readout.runtime import Runtime

STEPS = 60
LEVELS = [0.0, 0.3, 0.5, 0.7]


class InterruptAt(Callback):
    """Presses Ctrl-C at the given steps, counted over all fits that have this as a callback."""

    def __init__(self, *at: int, number: int = signal.SIGINT) -> None:
        self.at, self.number, self.seen = at, number, 0
        self.resumed_at: list[int] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.resumed_at.append(trainer.global_step)

    def on_train_batch_end(self, *_: Any) -> None:
        self.seen += 1
        if self.seen in self.at:
            os.kill(os.getpid(), self.number)


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """A test run in the background of a shell inherits an ignored Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def dip() -> FeatureInversion:
    return _image(DeepImagePrior(filters=[4, 8]), 0.01)


def dip_that_leaves() -> FeatureInversion:
    return _image(DeepImagePrior(filters=[4, 8]), 0.02, protocol=DiscrepancyProtocol(slack=0.3))


def dip_whose_latent_leaves_quickly() -> FeatureInversion:
    return _image(DeepImagePrior(filters=[4, 8], optimize="latent"), 0.05, protocol=FastProtocol(), lr_schedule=None)


def pixels_that_leave() -> FeatureInversion:
    return _image(Pixels(total_variation=0.01), 0.05, protocol=DiscrepancyProtocol())


def pixels_by_momentum() -> FeatureInversion:
    return _image(Pixels(), 0.5, optimizer=lambda parameters: SGD(parameters, lr=0.5, momentum=0.9))


def pixels_that_die() -> FeatureInversion:
    return _image(Mortal(), 0.05, max_restarts=2)


class Mortal(Pixels):
    """Dies in its first run if it starts out dark, and draws from every global generator."""

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        super().initialise(seeds, input_shape)
        self.dying = torch.tensor([seed % 3 == 0 for seed in seeds])
        self.age = 0

    def keep(self, rows: Tensor) -> bool:
        self.dying = self.dying[rows]
        return super().keep(rows)

    def forward(self) -> Tensor:
        return super().forward() + 1e-3 * torch.randn(3, 16, 16)

    def is_dead(self, recovered: Tensor) -> Tensor:
        return self.dying & (recovered.flatten(1).std(1) > 0.15)


def _image(prior: Prior, lr: float, **more: Any) -> FeatureInversion:
    settings = {"optimizer": lambda parameters: AdamW(parameters, lr=lr), "metrics": [], "record_every": 5, **more}
    return ImageInversion(TinyNet(), prior, **settings)


def noise() -> InputData:
    return UniformNoise(count=2, shape=(3, 16, 16))


def run(
    folder: Path, inversion: FeatureInversion, data: InputData, *callbacks: Callback, steps: int = STEPS, **sweep: Any
) -> pd.DataFrame:
    settings = {"layers": ["middle"], "levels": LEVELS, "batch_size": 4, "output": str(folder), **sweep}
    runtime = Runtime(trainer={**CPU, "max_steps": steps, "callbacks": list(callbacks)}, seed=3)
    Sweep(**settings).run(inversion, data, runtime, Console(quiet=True))
    return load_results(folder, trajectories=True)


def assert_same_bits(folder: Path, whole: Path) -> None:
    found, expected = (load_results(one, trajectories=True).drop(columns="seconds") for one in (folder, whole))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    recovered = [ResultStore(one).load_recovered(expected["key"]) for one in (folder, whole)]
    assert all(torch.equal(recovered[0][key], recovered[1][key]) for key in expected["key"])


def interrupted(
    folder: Path, inversion: Callable[[], FeatureInversion], data: Callable[[], InputData], at: int, **sweep: Any
) -> tuple[str, list[int]]:
    """Run, interrupt, run again; what was said, and where fits began in the second run."""
    with pytest.raises(KeyboardInterrupt) as stopped:
        run(folder, inversion(), data(), InterruptAt(at), **sweep)
    again = InterruptAt()
    run(folder, inversion(), data(), again, **sweep)
    return str(stopped.value), again.resumed_at


@pytest.mark.parametrize("at", [7, 35, 60, 95])
@pytest.mark.parametrize(
    "inversion", [dip, dip_that_leaves, dip_whose_latent_leaves_quickly, pixels_that_leave, pixels_by_momentum]
)
def test_images_go_on_to_the_bit(tmp_path: Path, inversion: Callable[[], FeatureInversion], at: int) -> None:
    run(tmp_path / "whole", inversion(), noise())
    interrupted(tmp_path / "out", inversion, noise, at)
    assert_same_bits(tmp_path / "out", tmp_path / "whole")
    assert not (tmp_path / "out" / "checkpoints").exists()
