"""The same features read in every way: how much of a size is the readout's, and how much does a feature hold at least?

    python -m experiments.frontier --scale cpu --images CIFAR10/train

reads the same perturbed features by inversion with a Deep Image Prior, with pixels and with pixels under a penalty on
total variation, and in one pass by a linear and by a trained decoder, which learn from other images: crops of
photographs and, for the trained one, as many mosaics of your small images. It also identifies the image among many. The
control, chance level, compares each image with those read from *other* images' features.
Run again to resume.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from experiments.shared import harness
from experiments.shared.harness import Experiment, begin, style
from experiments.shared.smooth import smooth_pixels
from experiments.summaries.frontier import conclude, draw
from readout.analysis.frontier import by_layer, named_sizes, with_frontier
from readout.analysis.outputs import read_outputs
from readout.analysis.sizes import sizes_table
from readout.data import Crops, ImageFolder, InputData, Joined, Mosaics, Photographs, load_samples
from readout.extractors import VGG19, FeatureExtractor
from readout.metrics import correlation_distance
from readout.priors import DeepImagePrior, Pixels
from readout.readouts import Identification, LinearDecoder, Readout, TrainedDecoder
from readout.representation import Estimator

Make = Callable[[FeatureExtractor], Readout]


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    weights: str | None
    data: Callable[[Experiment[Any]], InputData]
    training_data: Callable[[Experiment[Any]], InputData]
    """Other images to train the decoder on."""
    others: InputData
    """Fewer of them to fit the linear decoder on, whose weights grow with them, and to identify the images among."""
    layers: tuple[str, ...]
    levels: tuple[float, ...]
    far_levels: tuple[float, ...]
    """Further levels for the identification."""
    inversions: Mapping[str, Make]
    steps: int
    training_steps: int
    draws: int = 1
    threshold: float = 0.1


def crops_and_mosaics(folder: str | Path) -> InputData:
    """Return 4,000 crops of photographs and as many mosaics of the small images in a folder."""
    return Joined([Crops(count=4000, size=64), Mosaics(ImageFolder(str(folder), size=32), count=4000, size=64)])


def _inversions(filters: Sequence[int] | None, lr: float, steps: int) -> dict[str, Make]:
    dip = DeepImagePrior() if filters is None else DeepImagePrior(filters=filters)
    return {
        "dip": harness.Readout(dip, lr, steps).inversion,
        "pixels": harness.Readout(Pixels(), 0.05, steps, weight_decay=0.0).inversion,
        "smooth": smooth_pixels(steps).inversion,
    }


SCALES = {
    "smoke": Scale(
        weights=None,
        data=lambda _: Photographs(size=16),
        training_data=lambda _: Crops(count=40, size=16),
        others=Crops(count=40, size=16),
        layers=("conv1_1", "conv1_2"),
        levels=(0, 0.3, 0.7),
        far_levels=(0.99, 0.99999),
        inversions=_inversions((8, 16), 1e-2, 60),
        steps=60,
        training_steps=40,
        threshold=0.15,
    ),
    "cpu": Scale(
        weights="normalized",
        data=lambda _: Photographs(size=64),
        training_data=lambda experiment: crops_and_mosaics(experiment.image_folder()),
        others=Crops(count=1000, size=64),
        layers=("conv1_2", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
        levels=(0, 0.3, 0.5, 0.7, 0.8, 0.9),
        far_levels=(0.99, 0.999, 0.9999),
        inversions=_inversions((16, 32, 64, 128), 5e-3, 150),
        steps=150,
        training_steps=1500,
    ),
    "paper": Scale(
        weights="imagenet",
        data=lambda experiment: ImageFolder(experiment.image_folder(), 224, 64),
        training_data=lambda _: Crops(count=20_000, size=224),
        others=Crops(count=1000, size=224),
        layers=("conv1_2", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
        levels=(0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99),
        far_levels=(0.999, 0.9999),
        inversions=_inversions(None, 1e-4, 10_000),
        steps=10_000,
        training_steps=50_000,
        draws=4,
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all readouts, and write tables, figure and sentences."""
    experiment = begin("frontier", __doc__, SCALES, arguments)
    scale = experiment.scale
    extractor = VGG19(scale.weights)
    images = {name: sample.input for name, sample in load_samples(scale.data(experiment), extractor).items()}
    results = {name: measure(experiment, name, make, images) for name, make in readouts(scale, experiment).items()}
    identified = identify(experiment, extractor)
    outputs = read_outputs([experiment.sweep_store(name).folder for name in results])
    # the levels are few, so sizes are read off between them
    crossing = [replace(output, sizes=sizes_table(output.results, Estimator.CROSSING)) for output in outputs]
    table = with_frontier(named_sizes(crossing))
    (comparison,) = by_layer(table)
    experiment.store.write_text("sizes.csv", table.to_csv(index=False))
    experiment.store.write_text("identified.csv", identified.to_csv(index=False))
    columns = ["readout", "layer", "sample", "level", "draw", "feature_distance", "distance", "chance", "nearest_other"]
    points = pd.concat([result.assign(readout=name) for name, result in results.items()], ignore_index=True)
    points = points[[*columns, "verdict"]]
    with style():
        figure = draw(points, comparison, identified, scale.threshold)
    experiment.finish(points, figure, *conclude(points, comparison, identified, scale.threshold))


def readouts(scale: Scale, experiment: Experiment[Scale]) -> dict[str, Make]:
    """Return what makes each readout that reads images, by name."""
    return {
        **scale.inversions,
        "linear": lambda extractor: LinearDecoder(extractor, scale.others),
        "trained": lambda extractor: TrainedDecoder(
            extractor, scale.training_data(experiment), training_steps=scale.training_steps
        ),
    }


def measure(experiment: Experiment[Scale], name: str, make: Make, images: Mapping[str, Tensor]) -> pd.DataFrame:
    """Return results of one readout with chance levels, one row per problem."""
    scale = experiment.scale
    results = experiment.sweep(
        name,
        make(VGG19(scale.weights)),
        scale.data(experiment),
        steps=scale.steps,
        layers=scale.layers,
        levels=scale.levels,
        draws=scale.draws,
        threshold=scale.threshold,
        estimator="crossing",
    )
    return with_chance(results, images, experiment.sweep_store(name).load_recovered(results["key"]))


def identify(experiment: Experiment[Scale], extractor: FeatureExtractor) -> pd.DataFrame:
    """Identify each image among all images and others; one row per problem."""
    scale = experiment.scale
    candidates = Joined([scale.data(experiment), scale.others])
    return experiment.sweep(
        "identified",
        Identification(extractor, candidates),
        scale.data(experiment),
        steps=1,
        layers=scale.layers,
        levels=(*scale.levels, *scale.far_levels),
        draws=scale.draws,
    )


def with_chance(results: pd.DataFrame, images: Mapping[str, Tensor], recovered: Mapping[str, Tensor]) -> pd.DataFrame:
    """Add chance levels to results.

    Column ``chance`` is the mean d_X between an image and those recovered from other images' features at the same
    layer, level and draw; ``nearest_other`` is the smallest d_X between a recovered image and another true image.
    """
    names, truth = list(images), torch.stack(list(images.values()))
    tables = []
    for _, group in results.groupby(["layer", "level", "draw"], sort=False):
        read = torch.stack([recovered[key] for key in group["key"]])
        between = torch.stack([correlation_distance(read, image.expand_as(read)) for image in truth], dim=1).numpy()
        own = np.array([names.index(sample) for sample in group["sample"]])  # row → its true image
        others = np.where(own[:, None] == np.arange(len(names)), np.nan, between)
        tables.append(group.assign(chance=np.nanmean(others, axis=0)[own], nearest_other=np.nanmin(others, axis=1)))
    return pd.concat(tables).sort_index()


if __name__ == "__main__":
    main()
