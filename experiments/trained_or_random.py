"""How much of a representation size comes from training, and how much from the architecture alone?

    python -m experiments.trained_or_random --scale cpu --images CIFAR10

follows a network through its training on CIFAR10/train/CLASS: sizes of test images and of noise, and of images that the
trained network classifies correctly or not, by inversion, as a class, by identification and by a trained decoder. Then
it compares VGG19, trained and random, on the same photographs. ``--scale digits`` uses digits and a small network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from experiments.shared.cifar import CifarTask
from experiments.shared.digits import SMOKE, TRAINED
from experiments.shared.harness import PHOTOGRAPHS, Experiment, Readout, begin, sample_sizes, style
from experiments.shared.reading import LEVELS, Reading, quick, sizes_by_readout
from experiments.shared.smooth import smooth_pixels
from experiments.shared.task import Task, hits_and_misses, right
from experiments.summaries.trained_or_random import compare_groups, compare_networks, conclude, draw
from readout.data import Photographs, UniformNoise
from readout.extractors import VGG19
from readout.priors import DeepImagePrior, Pixels


@dataclass(frozen=True)
class Vgg:
    """Parameters of the comparison of VGG19, trained and random."""

    weights: str | None
    """Weights of the trained one; at ``smoke`` scale, another random network replaces it."""
    photographs: tuple[str, ...]
    """At least eight, for significance at several layers after correction."""
    size: int
    layers: str | tuple[str, ...]
    levels: tuple[float, ...]
    readout: Readout


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    task: Task
    epochs: tuple[int, ...]
    """Epochs to measure, from 0 (random) to fully trained."""
    count: int
    """Number of hits, of misses and of noise images."""
    reading: Reading
    vgg: Vgg


DIGIT_LAYERS = ("conv1", "conv2", "conv3", "conv4")
CIFAR_LAYERS = ("conv2", "conv3", "conv4", "block4")
CPU_VGG = Vgg(
    *("normalized", PHOTOGRAPHS, 32, ("conv1_2", "conv2_2", "conv3_1", "conv3_4"), (0, 0.3, 0.5, 0.7)),
    Readout(DeepImagePrior(filters=(16, 32, 64)), 5e-3, 150),
)
SCALES = {
    "smoke": Scale(
        *(SMOKE, (0, 12), 4),
        quick(("conv2", "conv4"), (0, 0.3, 0.7)),
        Vgg(
            *("random", ("astronaut", "coffee"), 16, ("conv1_1",), (0.3,)),
            Readout(DeepImagePrior(filters=(4, 8)), 1e-2, 5),
        ),
    ),
    "digits": Scale(
        *(TRAINED, (0, 3, 5, 10, 40), 40),
        Reading(DIGIT_LAYERS, LEVELS, Readout(Pixels(), 0.05, 200, 0.0), batch_size=600),
        CPU_VGG,
    ),
    "cpu": Scale(
        *(CifarTask(), (0, 12), 200),
        Reading(("conv2", "conv4"), (0, 0.3, 0.6), smooth_pixels(150), inverted=("conv2",), choice_draws=2),
        CPU_VGG,
    ),
    "paper": Scale(
        *(CifarTask(), (0, 1, 2, 4, 12), 1000),
        Reading(CIFAR_LAYERS, LEVELS, smooth_pixels(1000), draws=4, training_steps=10_000),
        Vgg("imagenet", PHOTOGRAPHS, 224, "all", (*LEVELS, 0.99), Readout(DeepImagePrior(), 1e-4, 10_000)),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and compare sizes along training, and of both VGG19 networks."""
    experiment = begin("trained_or_random", __doc__, SCALES, arguments)
    stages, vgg = along_training(experiment), photographs(experiment)
    splits, gains = compare_groups(stages), compare_networks(stages, vgg)
    experiment.store.write_text("groups.csv", splits.to_csv(index=False))
    experiment.store.write_text("gains.csv", gains.to_csv(index=False))
    with style():
        figure = draw(stages, vgg, splits)
    sizes = pd.concat([stages.assign(model="classifier"), vgg.assign(model="VGG19")], ignore_index=True)
    experiment.finish(sizes, figure, *conclude(splits, gains))


def along_training(experiment: Experiment[Scale]) -> pd.DataFrame:
    """Return sizes of the same images and noise at every epoch; the last epoch defines hits and misses."""
    scale = experiment.scale
    networks = {epoch: scale.task.network(experiment, epoch) for epoch in scale.epochs}
    test = scale.task.test(experiment)
    samples = hits_and_misses(test, right(networks[scale.epochs[-1]], test), scale.count)
    shape = tuple(samples[0].input.shape)
    samples += [noise._replace(label="noise") for noise in UniformNoise(scale.count, shape)]
    tables = []
    for epoch, network in networks.items():
        sizes = sizes_by_readout(experiment, f"epoch-{epoch}", scale.task, scale.reading, network, samples)
        tables.append(sizes.assign(epoch=epoch))
    return pd.concat(tables, ignore_index=True)


def photographs(experiment: Experiment[Scale]) -> pd.DataFrame:
    """Return sizes of photographs under random (``epoch`` 0) and trained (1) weights."""
    vgg, tables = experiment.scale.vgg, []
    for epoch, network in enumerate((VGG19(None, seed=1), VGG19(vgg.weights))):
        results = experiment.sweep(
            f"vgg/{('random', 'trained')[epoch]}",
            vgg.readout.inversion(network),
            Photographs(vgg.photographs, vgg.size),
            steps=vgg.readout.steps,
            layers=vgg.layers,
            levels=vgg.levels,
        )
        tables.append(sample_sizes(results).assign(epoch=epoch, readout="inversion"))
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    main()
