"""How much does the representation size depend on the stopping time?

    python -m experiments.stopping --scale cpu
    python -m experiments.stopping --scale cpu --runs runs/vgg_dip

computes sizes at every recorded step of Deep Image Priors, for several learning rates and for generators with fewer
weights than the image has values up to many more. Marks show the last step (the paper's), each level's best iterate,
and the discrepancy stop. ``--runs`` adds output folders of finished sweeps of a Deep Image Prior. Because of the linear
decay, a step of a long run differs from the end of a shorter one. Run again to resume.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from experiments.shared.harness import PHOTOGRAPHS, Experiment, Readout, begin, style
from experiments.summaries.stopping import conclude, draw, find_stops, follow
from readout import load_results
from readout.data import Photographs
from readout.extractors import VGG19
from readout.priors import DeepImagePrior


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale; the first rate and the first filters are the reference."""

    weights: str | None
    size: int
    images: tuple[str, ...]
    layers: tuple[str, ...]
    levels: tuple[float, ...]
    rates: tuple[float, ...]
    filters: tuple[tuple[int, ...], ...]
    steps: int
    record_every: int
    threshold: float = 0.1

    @property
    def conditions(self) -> list[tuple[float, tuple[int, ...]]]:
        """List all rates with the reference filters, and all other filters with the reference rate."""
        return [(rate, self.filters[0]) for rate in self.rates] + [(self.rates[0], wide) for wide in self.filters[1:]]


SCALES = {
    "smoke": Scale(
        weights=None,
        size=16,
        images=PHOTOGRAPHS[:3],
        layers=("conv1_1",),
        levels=(0, 0.3, 0.7),
        rates=(1e-2, 3e-2),
        filters=((8, 16), (2, 4)),
        steps=60,
        record_every=4,
        threshold=0.15,
    ),
    "cpu": Scale(
        weights="normalized",
        size=64,
        images=PHOTOGRAPHS[:3],
        layers=("conv2_1",),
        levels=(0, 0.3, 0.5, 0.6, 0.7, 0.8),
        rates=(5e-3, 1e-3, 2e-2),
        filters=((16, 32, 64, 128), (2, 4, 8, 16), (4, 8, 16, 32), (8, 16, 32, 64)),
        steps=400,
        record_every=5,
    ),
    "paper": Scale(
        weights="imagenet",
        size=224,
        images=PHOTOGRAPHS,
        layers=("conv1_2", "conv2_1", "conv3_1", "conv4_1"),
        levels=(0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9),
        rates=(1e-4, 1e-3, 1e-2),
        filters=((16, 32, 64, 128, 256), (2, 4, 8, 16, 32), (4, 8, 16, 32, 64), (8, 16, 32, 64, 128)),
        steps=10_000,
        record_every=25,
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all conditions, compute sizes per step, and write tables, figure and sentences."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--runs", nargs="*", type=Path, default=[])
    asked, rest = parser.parse_known_args(arguments)
    experiment = begin("stopping", __doc__, SCALES, rest)
    scale = experiment.scale
    results = pd.concat([*measure(experiment), *map(finished_run, asked.runs)], ignore_index=True)
    steps = follow(results, scale.threshold)
    stops = find_stops(results, steps, scale.threshold)
    experiment.store.write_text("steps.csv", steps.to_csv(index=False))
    with style():
        figure = draw(steps, stops, scale.threshold)
    experiment.finish(stops, figure, *conclude(stops))


def measure(experiment: Experiment[Scale]) -> list[pd.DataFrame]:
    """Return results with trajectories, one table per condition."""
    scale = experiment.scale
    extractor, data = VGG19(scale.weights), Photographs(scale.images, scale.size)
    tables = []
    for rate, filters in scale.conditions:
        found = experiment.sweep(
            f"rate={rate:g}_filters={_named(filters)}",
            Readout(DeepImagePrior(filters=filters), rate, scale.steps).inversion(
                extractor, record_every=scale.record_every
            ),
            data,
            steps=scale.steps,
            layers=scale.layers,
            levels=scale.levels,
            threshold=scale.threshold,
        )
        tables.append(found.assign(rate=rate, filters=_named(filters), max_steps=scale.steps))
    return tables


def finished_run(folder: Path) -> pd.DataFrame:
    """Return results of a finished sweep of a Deep Image Prior, with rate and filters from its configuration."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    model = config["model"]["init_args"]
    return load_results(folder, trajectories=True).assign(
        rate=float(model["optimizer"]["init_args"]["lr"]),
        filters=_named(model["prior"]["init_args"]["filters"]),
        max_steps=int(config["trainer"]["max_steps"]),
    )


def _named(filters: Sequence[int]) -> str:
    return "-".join(map(str, filters))


if __name__ == "__main__":
    main()
