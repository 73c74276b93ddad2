"""A sweep gives the same bits on the workers of a cluster as in one process, whatever it reads and how."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch.optim import AdamW

from readout.codes import TopKEncoder
from readout.codes.stored import NAME
from readout.data import InputData, TextFiles, UniformNoise
from readout.executors import Executor, Here, Job
from readout.extractors import BERT
from readout.learning import Activations, SparseAutoencoder
from readout.learning.learn import learn, learn_layers
from readout.priors import CosinePixels, Pixels, TokenLogits
from readout.readouts import (
    BatchedLBFGS,
    ClassReadout,
    DiscrepancyProtocol,
    ImageInversion,
    Readout,
    RefinedInversion,
    TextInversion,
    TrainedDecoder,
    WhitenedError,
)
from readout.sweep import Sweep
from readout.sweep.external import ExternalSweep
from readout.sweep.options import RunOptions
from readout.sweep.runtime import Runtime
from tests.executors.conftest import WORKERS
from tests.executors.jobs import WATCH, Where, one_by_one
from tests.executors.kept import Kept
from tests.helpers import CPU, read_table, runtime
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


def refined(folder: Path) -> Readout:
    """With everything that a readout keeps of data, and an optimiser and a prior with a state of their own."""
    training = UniformNoise(24, (3, 16, 16), seed=1)
    return RefinedInversion(
        TinyNet(),
        partial(TrainedDecoder, training_data=training, training_steps=3, width=4, blocks=1),
        CosinePixels(smoothness=0.1, half_life=5),
        optimizer=BatchedLBFGS,
        lr_schedule=None,
        loss=WhitenedError(training),
        protocol=DiscrepancyProtocol(),
        metrics=[],
        record_every=5,
    )


def texts(folder: Path) -> InputData:
    path = folder / "texts.txt"
    path.write_text(f"{TEXT}\nthe old king saw a small bird by the river\n")
    return TextFiles(str(path), per_line=True, max_tokens=8, min_tokens=4, limit=2)


def text_inversion(folder: Path) -> Readout:
    return TextInversion(BERT(save_tiny(folder / "bert")), TokenLogits(), metrics=[], record_every=5)


BISECTION = {"levels": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "search": "bisection", "threshold": 0.5, "batch_size": 3}
BATCHES = {"layers": ["early", "middle"], "batch_size": 3}

FOLDERS = ("results", "trained", "checkpoints")

KINDS = {
    "grid": Kind(lambda _: dip(), sweep=BATCHES),
    "bisection": Kind(lambda _: pixels_that_leave(), lambda _: UniformNoise(count=4, shape=(3, 16, 16)), BISECTION),
    "problems that leave": Kind(lambda _: dip_that_leaves(), sweep=BATCHES),
    "dead ones that restart": Kind(lambda _: pixels_that_die(), sweep=BATCHES),
    "readings": Kind(pixels, sweep={"readings": 3, "levels": [0.0, 0.6], "batch_size": 3}),
    "an answer to begin at": Kind(refined, sweep=BATCHES),
    "texts": Kind(text_inversion, texts, {"layers": ["layer.0"], "levels": [0.0, 0.5], "batch_size": 2}),
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
    for folder, executor in executors(tmp_path, kept):  # the same objects, in which a sweep leaves no trace
        run(folder, readout, data, **kind.sweep, executor=executor)
    assert_same_results(tmp_path)


def test_a_training_on_a_worker_gives_the_same_weights_and_is_logged(tmp_path: Path, kept: Kept) -> None:
    csv = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": ".", "name": "csv"}}
    training = UniformNoise(24, (3, 16, 16), seed=1)
    readout = TrainedDecoder(TinyNet(), training, training_steps=6, batch_size=4, width=4, blocks=1)
    logged = []
    for folder, executor in executors(tmp_path, kept):
        sweep = Sweep(["early", "middle"], [0, 0.5], output=str(folder), batch_size=2, executor=executor)
        sweep.measure(readout, noise(), Runtime({**CPU, "log_every_n_steps": 1}, [csv]), Console(quiet=True), False)
        runs = {path.parent.name: read_table(path) for path in folder.glob("csv/*/metrics.csv")}
        assert {name: len(table) for name, table in runs.items()} == {"early-training": 6, "middle-training": 6}
        logged.append(runs)
    assert_same_results(tmp_path)
    for name, table in logged[0].items():
        pd.testing.assert_frame_equal(logged[1][name], table, check_exact=True)


def test_external_features_give_the_same_bits(tmp_path: Path, kept: Kept) -> None:
    net, generator = TinyNet(), torch.Generator().manual_seed(3)
    images = torch.rand(3, 3, 16, 16, generator=generator)
    features = {
        f"image {place}": {layer: net.extract(image[None], layer)[0] for layer in ("early", "middle")}
        for place, image in enumerate(images)
    }
    readout, true = pixels(tmp_path), {"image 1": images[1]}
    for folder, executor in executors(tmp_path, kept):
        sweep = ExternalSweep(RunOptions(folder, batch_size=2, executor=executor))
        sweep.run(readout, features, (3, 16, 16), runtime(20), true, Console(quiet=True))
    assert_same_results(tmp_path)


def test_dictionaries_of_several_layers_are_learnt_by_workers(tmp_path: Path, kept: Kept) -> None:
    data = Activations(TinyNet(), ["early", "middle"], noise(), held_out=0.5)
    learner, found = SparseAutoencoder(TopKEncoder(2), latents=8), []
    for folder, executor in executors(tmp_path, kept):
        learned = learn_layers(learner, data, folder, runtime(6), executor=executor)
        found.append({layer: load_file(folder / layer / NAME) for layer in learned})
    assert [*found[0]] == ["early", "middle"]
    for layer, tensors in found[0].items():
        alone = learn(SparseAutoencoder(TopKEncoder(2), latents=8), data.at(layer), tmp_path / layer, runtime(6))
        for name, tensor in tensors.items():
            assert torch.equal(tensor, found[1][layer][name])
            assert torch.equal(tensor, load_file(alone.dictionary.path + f"/{NAME}")[name])


def test_no_more_jobs_are_taken_than_there_are_workers(kept: Kept) -> None:
    jobs = one_by_one([*map(Where, range(12))])
    taken = done = 0

    def take() -> Job | None:
        nonlocal taken
        job = jobs()
        taken += job is not None
        assert taken <= done + WORKERS
        return job

    with kept.opened(None):
        for _ in kept.run(take, WATCH):
            done += 1
    assert taken == done == 12


def executors(folder: Path, kept: Kept) -> Iterator[tuple[Path, Executor]]:
    """Both executors, each with its output folder."""
    yield folder / "here", Here()
    yield folder / "cluster", kept


def assert_same_results(folder: Path) -> None:
    """Compare results to the bit, and the names of files that say what they hold."""
    assert_same_bits(folder / "cluster", folder / "here")
    assert parts(folder / "cluster") == parts(folder / "here")


def parts(folder: Path) -> dict[str, list[str]]:
    """Names of batches, weights and checkpoints by folder."""
    return {kind: sorted(path.name for path in (folder / kind).glob("*")) for kind in FOLDERS}
