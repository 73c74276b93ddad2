"""Readouts in one pass: against the bare forward passes that they need, and against the paper's protocol."""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.driver import Refused, measure, quartiles
from benchmarks.options import Options
from benchmarks.suites.size import PAPER_STEPS
from benchmarks.table import Table
from benchmarks.work import LEVELS
from readout.data import Crops, InputData, Photographs, UniformNoise
from readout.extractors import VGG19, FeatureExtractor, TorchvisionModel
from readout.extractors.rest import cut
from readout.readouts import ClassReadout, Identification, Readout, TrainedDecoder
from readout.sweep import Sweep
from readout.sweep.runtime import Runtime

SIZE = 64
BATCH = 64
LAYERS = ("layer1", "layer3")
TRAINED_LAYER = "conv2_1"


def run(options: Options) -> Table:
    """Time sweeps by readouts in one pass; without bdpy, the paper's protocol is left out."""
    table = Table("Readouts in one pass")
    table.note(
        "bare: one pass of every image to the layer (twice for Identification, whose candidates are passed too) and, "
        "for ClassReadout, of every feature and perturbed feature from there on. ours: the whole sweep, from plan to "
        "table."
    )
    network = TorchvisionModel("resnet18", weights=None)
    for size, images in ((SIZE, 200), (224, 50)):
        data = UniformNoise(20 if options.quick else images, (3, size, size))
        for layer in LAYERS:
            for make, bare in ((Identification, _identified), (ClassReadout, _classified)):
                alone, ours = [], []
                for _ in range(3):  # by turns, so that other load affects both alike
                    alone.append(_seconds(partial(bare, network, data, layer)))
                    ours.append(_swept(make(network), data, layer))
                problems = len(data) * len(LEVELS)
                least, taken = statistics.median(alone), statistics.median(ours)
                row = {"readout": make.__name__, "pixels": size, "layer": layer, "problems": problems}
                row |= {"problems/s": problems / taken, "bare": least, "ours": taken}
                table.add(**row, **{"ours / bare": taken / least})
    try:
        _against_the_paper(table, options)
    except Refused as refused:
        table.note(str(refused))
    return table


def _against_the_paper(table: Table, options: Options) -> None:
    """Add a row for a trained decoder, with the number of inputs at which its training has paid."""
    (peer,) = measure([options.work.but(side="bdpy", layer=TRAINED_LAYER)], options.pacing, options.threads)
    paper = PAPER_STEPS / 1e3 * quartiles(peer.milliseconds())[1]
    readout = TrainedDecoder(VGG19("normalized"), Crops(count=200), training_steps=20 if options.quick else 2500)
    photographs = Photographs(size=SIZE)
    with tempfile.TemporaryDirectory() as folder:
        training = _swept(readout, photographs, TRAINED_LAYER, folder)
        # the weights are there now
        draws = 2 if options.quick else 20
        reading = _swept(readout, photographs, TRAINED_LAYER, folder, draws=draws, seed=1)
    problems = len(photographs) * len(LEVELS) * draws
    table.add(
        readout="TrainedDecoder",
        layer=TRAINED_LAYER,
        problems=problems,
        ours=reading,
        **{
            "problems/s": problems / reading,
            "paper's protocol / ours": paper * problems / reading,
            "training": training,
            "inputs at which it has paid": training / (paper * len(LEVELS)),
        },
    )
    table.note(
        "The paper's protocol: bdpy, extrapolated, 10,000 steps × the measured time of a step, for each problem. "
        "training: the whole first sweep."
    )


def _swept(
    readout: Readout, data: InputData, layer: str, folder: str | None = None, draws: int = 1, seed: int = 0
) -> float:
    """Return the seconds of a sweep, without its report."""
    with tempfile.TemporaryDirectory() as temporary:
        sweep = Sweep([layer], LEVELS, draws=draws, output=str(Path(folder or temporary)))
        runtime, quiet = Runtime(trainer={"accelerator": "cpu"}, seed=seed), Console(quiet=True)
        return _seconds(lambda: sweep.measure(readout, data, runtime, quiet, report=False))


@torch.no_grad()
def _identified(network: FeatureExtractor, data: InputData, layer: str) -> None:
    images = torch.stack([sample.input for sample in data])
    for batch in torch.split(torch.cat([images, images]), BATCH):
        network.extract(batch, layer)


@torch.no_grad()
def _classified(network: FeatureExtractor, data: InputData, layer: str) -> None:
    images = torch.stack([sample.input for sample in data])
    rest = cut(network, layer, images[:1])
    for batch in torch.split(images, BATCH):
        feature = network.extract(batch, layer)
        for _ in range(1 + len(LEVELS)):
            rest(feature)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
