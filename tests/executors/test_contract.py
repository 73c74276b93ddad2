"""A sweep gives the same bits on the workers of a cluster as in one process, whatever it reads and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch.optim import AdamW

from readout.data import InputData, TextFiles, UniformNoise
from readout.executors import Desk, Executor, Here, Job, Watch
from readout.common.signals import Stop
from readout.extractors import BERT
from readout.priors import Pixels, TokenLogits
from readout.readouts import ClassReadout, ImageInversion, Readout, TextInversion, TrainedDecoder
from readout.sweep.external import ExternalSweep
from readout.sweep.options import RunOptions
from tests.executors.kept import Kept
from tests.helpers import runtime
from tests.sweep.interrupted import (
    assert_same_bits,
    dip,
    dip_that_leaves,
    noise,
    pixels_that_die,
    pixels_that_leave,
    run,
)
from tests.tiny import TinyClassifier, TinyNet
from tests.tiny_text import TEXT, save_tiny


@dataclass
class Kind:
    """A sweep to compare."""

    readout: Callable[[Path], Readout]
    data: Callable[[Path], InputData] = lambda folder: noise()
    sweep: Mapping[str, Any] = field(default_factory=dict)


def pixels(folder: Path) -> Readout:
    return ImageInversion(TinyNet(), Pixels(init_std=0.2), optimizer=lambda p: AdamW(p, lr=0.05), metrics=[])


def texts(folder: Path) -> InputData:
    path = folder / "texts.txt"
    path.write_text(f"{TEXT}\nthe old king saw a small bird by the river\n")
    return TextFiles(str(path), per_line=True, max_tokens=8, min_tokens=4, limit=2)


def text_inversion(folder: Path) -> Readout:
    return TextInversion(BERT(save_tiny(folder / "bert")), TokenLogits(), metrics=[], record_every=5)


def decoder(folder: Path) -> Readout:
    training = UniformNoise(24, (3, 16, 16), seed=1)
    return TrainedDecoder(TinyNet(), training, training_steps=6, batch_size=4, width=4, blocks=1)


BISECTION = {"levels": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "search": "bisection", "threshold": 0.5, "batch_size": 3}
BATCHES = {"layers": ["early", "middle"], "batch_size": 3}

KINDS = {
    "grid": Kind(lambda _: dip(), sweep=BATCHES),
    "bisection": Kind(lambda _: pixels_that_leave(), lambda _: UniformNoise(count=4, shape=(3, 16, 16)), BISECTION),
    "problems that leave": Kind(lambda _: dip_that_leaves(), sweep=BATCHES),
    "dead ones that restart": Kind(lambda _: pixels_that_die(), sweep=BATCHES),
    "readings": Kind(pixels, sweep={"readings": 3, "levels": [0.0, 0.6], "batch_size": 3}),
    "texts": Kind(text_inversion, texts, {"layers": ["layer.0"], "levels": [0.0, 0.5], "batch_size": 2}),
    "trained": Kind(decoder, sweep=BATCHES),
    "one pass": Kind(
        lambda _: ClassReadout(TinyClassifier()),
        lambda _: UniformNoise(count=3, shape=(3, 8, 8)),
        {"layers": ["image"], "batch_size": 3},
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_sweep_on_a_cluster_gives_the_bits_of_one_process(name: str, tmp_path: Path, kept: Kept) -> None:
    kind = KINDS[name]
    readout, data = kind.readout(tmp_path), kind.data(tmp_path)
    for folder, executor in {"here": Here(), "cluster": kept}.items():  # the same objects: one sweep leaves no trace
        run(tmp_path / folder, readout, data, **kind.sweep, executor=executor)
    assert_same_bits(tmp_path / "cluster", tmp_path / "here")
    assert parts(tmp_path / "cluster") == parts(tmp_path / "here")


def parts(folder: Path) -> dict[str, list[str]]:
    """Names of all files that say what they hold: batches by their problems, weights by their training."""
    return {kind: sorted(path.name for path in (folder / kind).glob("*")) for kind in ("results", "trained", "checkpoints")}
