"""How much of a representation size comes from training, and how much from the architecture alone?

    python -m experiments.trained_or_random --scale cpu

follows a network through its training on digits: sizes of digits and of noise, and of digits that the trained network
classifies correctly or not. Then it compares VGG19, trained and random, on the same photographs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from experiments.shared.digits import SMOKE, TRAINED, Training, hits_and_misses, invert
from experiments.shared.harness import PHOTOGRAPHS, Experiment, Readout, begin, sample_sizes, style
from experiments.summaries.trained_or_random import compare_groups, compare_networks, conclude, draw
from readout.data import ImageFolder, InputData, Photographs, UniformNoise
from readout.extractors import VGG19
from readout.priors import DeepImagePrior, Pixels


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    training: Training
    epochs: tuple[int, ...]
    """Epochs to measure, from 0 (random) to fully trained."""
    count: int
    """Number of hits, of misses and of noise images."""
    layers: str | tuple[str, ...]
    levels: tuple[float, ...]
    readout: Readout
    weights: str | None
    """Weights of the trained VGG19; at ``smoke`` scale, another random network replaces it."""
    size: int
    photographs: tuple[str, ...]
    """At least eight, for significance at several layers after correction; empty for the user's images."""
    vgg_layers: str | tuple[str, ...]
    vgg_levels: tuple[float, ...]
    vgg_readout: Readout
    draws: int = 1
    batch_size: int | None = None


LEVELS = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
DIGIT_LAYERS = ("conv1", "conv2", "conv3", "conv4")
SCALES = {
    "smoke": Scale(
        *(SMOKE, (0, 12), 4, ("conv2", "conv4"), (0, 0.3, 0.7), Readout(Pixels(), 0.1, 30, 0.0)),
        *("random", 16, ("astronaut", "coffee"), ("conv1_1",), (0.3,)),
        Readout(DeepImagePrior(filters=(4, 8)), 1e-2, 5),
        batch_size=64,
    ),
    "cpu": Scale(
        *(TRAINED, (0, 3, 5, 10, 40), 40, DIGIT_LAYERS, LEVELS, Readout(Pixels(), 0.05, 200, 0.0)),
        *("normalized", 32, PHOTOGRAPHS),
        *(("conv1_2", "conv2_2", "conv3_1", "conv3_4"), (0, 0.3, 0.5, 0.7)),
        Readout(DeepImagePrior(filters=(16, 32, 64)), 5e-3, 150),
        batch_size=600,
    ),
    "paper": Scale(
        *(TRAINED, (0, 1, 2, 3, 5, 10, 20, 40), 100, DIGIT_LAYERS, LEVELS, Readout(Pixels(), 0.05, 1000, 0.0)),
        *("imagenet", 224, (), "all", (*LEVELS, 0.99)),
        Readout(DeepImagePrior(), 1e-4, 10_000),
        draws=4,
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and compare sizes along training, and of both VGG19 networks."""
    experiment = begin("trained_or_random", __doc__, SCALES, arguments)
    digits, vgg = along_training(experiment), photographs(experiment)
    splits, gains = compare_groups(digits), compare_networks({"digits": digits, "VGG19": vgg})
    experiment.store.write_text("groups.csv", splits.to_csv(index=False))
    experiment.store.write_text("gains.csv", gains.to_csv(index=False))
    with style():
        figure = draw(digits, vgg, splits)
    sizes = pd.concat([digits.assign(model="digits"), vgg.assign(model="VGG19")], ignore_index=True)
    experiment.finish(sizes, figure, *conclude(splits, gains))


def along_training(experiment: Experiment[Scale]) -> pd.DataFrame:
    """Return sizes of the same digits and noise at every epoch; the last epoch defines hits and misses."""
    scale = experiment.scale
    networks = {epoch: scale.training.network(experiment.folder, epoch) for epoch in scale.epochs}
    samples = hits_and_misses(networks[scale.epochs[-1]], scale.training.test(), scale.count)
    samples += [noise._replace(label="noise") for noise in UniformNoise(scale.count, (1, 8, 8))]
    tables = []
    for epoch, network in networks.items():
        results = invert(experiment, scale, f"digits/epoch-{epoch}", network, samples)
        tables.append(sample_sizes(results).assign(epoch=epoch))
    return pd.concat(tables, ignore_index=True)


def photographs(experiment: Experiment[Scale]) -> pd.DataFrame:
    """Return sizes of photographs under random (``epoch`` 0) and trained (1) weights."""
    scale = experiment.scale
    data: InputData = (
        Photographs(scale.photographs, scale.size) if scale.photographs else ImageFolder(experiment.image_folder())
    )
    tables = []
    for epoch, network in enumerate((VGG19(None, seed=1), VGG19(scale.weights))):
        results = experiment.sweep(
            f"vgg/{('random', 'trained')[epoch]}",
            scale.vgg_readout.inversion(network),
            data,
            steps=scale.vgg_readout.steps,
            layers=scale.vgg_layers,
            levels=scale.vgg_levels,
        )
        tables.append(sample_sizes(results).assign(epoch=epoch))
    return pd.concat(tables, ignore_index=True)


if __name__ == "__main__":
    main()
