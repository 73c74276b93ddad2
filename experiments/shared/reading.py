"""The same features read by inversion, as a class, by identification and by a trained decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments.shared.harness import Experiment, Readout, sample_sizes
from experiments.shared.task import Images, Task
from readout.data import Sample
from readout.extractors import FeatureExtractor
from readout.priors import Pixels
from readout.readouts import ClassReadout, FeatureInversion, Identification, TrainedDecoder

LEVELS = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

READOUTS = ("inversion", "class", "identification", "decoder")
"""Names of the readouts."""


@dataclass(frozen=True)
class Reading:
    """What is read: layers, levels, draws, and settings of the readouts."""

    layers: str | tuple[str, ...]
    levels: tuple[float, ...]
    """Levels of the inversion."""
    inversion: Readout
    inverted: tuple[str, ...] = ()
    """Layers to invert, if not all: where something can be read so."""
    draws: int = 1
    """Draws of inversion and decoder."""
    batch_size: int | None = None
    """Inversions per batch; None for as many as fit."""
    training_steps: int = 300
    """Training of the decoder, with 32 images per step."""
    decoder_levels: tuple[float, ...] = LEVELS
    choice_levels: tuple[float, ...] = (*LEVELS, 0.95, 0.99)
    """Levels of the class and of the identification, which cost little."""
    choice_draws: int = 4


def quick(layers: tuple[str, ...], levels: tuple[float, ...]) -> Reading:
    """Return a reading for the smallest scale, with the same levels for all readouts."""
    inversion = Readout(Pixels(), 0.1, 30, 0.0)
    return Reading(
        *(layers, levels, inversion),
        batch_size=128,
        training_steps=20,
        decoder_levels=levels,
        choice_levels=levels,
        choice_draws=1,
    )


def sizes_by_readout(
    experiment: Experiment[Any],
    name: str,
    task: Task,
    reading: Reading,
    network: FeatureExtractor,
    samples: Sequence[Sample],
) -> pd.DataFrame:
    """Run or resume the sweeps of all readouts over the same images.

    Args:
        experiment: The experiment.
        name: Sub-folder of the sweeps, one below it for each readout.
        task: Has other images for the decoder.
        reading: What is read.
        network: The frozen network.
        samples: The images.

    Returns:
        Sizes as of :func:`experiments.shared.harness.sample_sizes`, with a column ``readout`` of :data:`READOUTS`.
    """
    steps, tables = reading.inversion.steps, []
    for readout in READOUTS:
        inverts, chooses = readout == "inversion", readout in ("class", "identification")
        levels = reading.levels if inverts else reading.choice_levels if chooses else reading.decoder_levels
        results = experiment.sweep(
            f"{name}/{readout}",
            _make(readout, reading, network, task, experiment),
            Images(samples),
            steps=steps if inverts else 1,
            layers=(inverts and reading.inverted) or reading.layers,
            levels=levels,
            draws=reading.choice_draws if chooses else reading.draws,
            batch_size=(inverts and reading.batch_size) or "auto",
        )
        tables.append(sample_sizes(results).assign(readout=readout))
    return pd.concat(tables, ignore_index=True)


def _make(readout: str, reading: Reading, network: FeatureExtractor, task: Task, experiment: Experiment[Any]) -> Any:
    if readout == "inversion":
        every = max(1, reading.inversion.steps // 10)
        return reading.inversion.inversion(network, FeatureInversion, record_every=every)
    if readout == "decoder":
        data = task.training_data(experiment)
        return TrainedDecoder(network, data, training_steps=reading.training_steps, batch_size=32)
    return {"class": ClassReadout, "identification": Identification}[readout](network)
