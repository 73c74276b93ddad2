"""Are sizes of natural images larger than those of noise, and is that due to the feature or to the prior?

    python -m experiments.natural_or_noise --scale cpu --sweeps runs/experiments/vision_recovery-cpu

compares photographs with uniform and Gaussian noise, and with the same photographs phase-scrambled and pixel-shuffled.
A Deep Image Prior favours natural images whatever the feature holds, so everything is also read with pixels, which
favour none. At ``paper`` scale the images are 64 of your own, ``--images FOLDER``. ``--sweeps`` takes photographs
from vision_recovery. Run again to resume.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments import vision_recovery
from experiments.shared.curves import labelled_sizes
from experiments.shared.harness import PHOTOGRAPHS, Experiment, Readout, begin, style
from experiments.summaries.natural_or_noise import compare, conclude, draw
from readout.data import GaussianNoise, InputData, PhaseScrambled, Photographs, PixelShuffled, UniformNoise
from readout.extractors import VGG19

Images = Callable[[Experiment[Any]], InputData]
Kinds = Mapping[str, Images]


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    weights: str | None
    kinds: Kinds
    layers: str | tuple[str, ...]
    levels: tuple[float, ...]
    readouts: Mapping[str, Readout]
    threshold: float = 0.1


def _kinds(images: Images, count: int, size: int) -> Kinds:
    shape = (3, size, size)
    return {
        "photographs": images,
        "phase_scrambled": lambda experiment: PhaseScrambled(images(experiment)),
        "pixel_shuffled": lambda experiment: PixelShuffled(images(experiment)),
        "gaussian_noise": lambda _: GaussianNoise(count, shape),
        "uniform_noise": lambda _: UniformNoise(count, shape),
    }


SCALES = {
    "smoke": Scale(
        weights=None,
        kinds={
            kind: make
            for kind, make in _kinds(vision_recovery.SCALES["smoke"].data, 3, 16).items()
            if kind in ("photographs", "phase_scrambled", "uniform_noise")
        },
        layers=("conv1_1",),
        levels=(0, 0.5),
        readouts=vision_recovery.SCALES["smoke"].readouts,
        threshold=0.15,
    ),
    "cpu": Scale(
        weights="normalized",
        kinds=_kinds(lambda _: Photographs(PHOTOGRAPHS[:6], 64), 6, 64),
        layers=("conv1_2", "conv3_1"),
        levels=(0, 0.3, 0.5, 0.7),
        readouts=vision_recovery.SCALES["cpu"].readouts,
    ),
    "paper": Scale(
        weights="normalized",
        kinds=_kinds(vision_recovery.SCALES["paper"].data, 64, 224),
        layers="all",
        levels=vision_recovery.SCALES["paper"].levels,
        readouts=vision_recovery.SCALES["paper"].readouts,
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Invert every kind of image with both priors, and write tables, figure and sentences."""
    experiment = begin("natural_or_noise", __doc__, SCALES, arguments)
    scale = experiment.scale
    results = pd.concat(
        [measure(experiment, readout, kind) for readout in scale.readouts for kind in scale.kinds], ignore_index=True
    )
    sizes = labelled_sizes(results, ["readout", "kind"])
    tests = compare(sizes)
    for name, table in (("sizes", sizes), ("tests", tests)):
        experiment.store.write_text(f"{name}.csv", table.to_csv(index=False))
    with style():
        figure = draw(results, sizes)
    table = results[[name for name in results.columns if not name.startswith("trajectory")]]
    experiment.finish(table, figure, *conclude(results, sizes, tests))


def measure(experiment: Experiment[Scale], readout: str, kind: str) -> pd.DataFrame:
    """Return results of one readout and kind of image, one row per problem."""
    scale = experiment.scale
    return experiment.sweep(
        readout if kind == "photographs" else f"{readout}-{kind}",
        scale.readouts[readout].inversion(VGG19(scale.weights)),
        scale.kinds[kind](experiment),
        steps=scale.readouts[readout].steps,
        layers=scale.layers,
        levels=scale.levels,
        threshold=scale.threshold,
    ).assign(readout=readout, kind=kind)


if __name__ == "__main__":
    main()
