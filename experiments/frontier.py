"""The same features read out through several priors: how much of a size is the prior's?

    python -m experiments.decoder --scale cpu --sweeps runs/experiments/vision_recovery-cpu

reads the same perturbed features with a Deep Image Prior, with pixels, with pixels under a penalty on total variation
and with a trained decoder, and also takes the nearest of a set of inputs. The control, chance level, compares each
image with the images that a prior recovers from *other* images' features. ``--sweeps`` takes the first two readouts
from vision_recovery. Run again to resume.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from experiments import vision_recovery
from experiments.shared.crops import random_crops
from experiments.shared.curves import labelled_sizes
from experiments.shared.harness import Experiment, Readout, begin, style
from experiments.summaries.decoder import conclude, draw
from readout.data import InputData, load_samples
from readout.extractors import VGG19, FeatureExtractor
from readout.metrics import correlation_distance
from readout.perturbations import GaussianPerturbation
from readout.priors import Pixels, VGGDecoder
from readout.problems.identity import derive_seed
from readout.readouts import FeatureLoss

TOTAL_VARIATION = 0.1
"""Weight of the penalty relative to the error; the only value here that was tuned, by d_X on astronaut and coffee."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    weights: str | None
    data: Callable[[Experiment[Any]], InputData]
    layers: tuple[str, ...]
    levels: tuple[float, ...]
    far_levels: tuple[float, ...]
    """Further levels for the nearest input only."""
    readouts: Mapping[str, Callable[[], Readout]]
    """``smooth`` minimises :class:`RelativeSquaredError`."""
    crops: int
    """Crops per image among the candidates for the nearest input."""
    threshold: float = 0.1


def _readouts(scale: str, trained: bool) -> dict[str, Callable[[], Readout]]:
    base = vision_recovery.SCALES[scale].readouts
    smooth = Readout(Pixels(total_variation=TOTAL_VARIATION), 0.05, base["pixels"].steps, weight_decay=0.0)
    readouts = {name: partial(base.__getitem__, name) for name in ("dip", "pixels")} | {"smooth": lambda: smooth}
    return readouts | ({"trained": lambda: Readout(VGGDecoder(), 0.2, base["dip"].steps, 0.0)} if trained else {})


SCALES = {
    "smoke": Scale(
        weights=None,
        data=vision_recovery.SCALES["smoke"].data,
        layers=("conv1_1",),
        levels=(0, 0.3, 0.7),
        far_levels=(0.99, 0.99999),
        readouts=_readouts("smoke", trained=False),
        crops=4,
        threshold=0.15,
    ),
    "cpu": Scale(
        weights="normalized",
        data=vision_recovery.SCALES["cpu"].data,
        layers=("conv1_2", "conv2_1", "conv3_1"),
        levels=(0, 0.3, 0.5, 0.7, 0.9),
        far_levels=(0.99, 0.999, 0.9999),
        readouts=_readouts("cpu", trained=True),
        crops=16,
    ),
    "paper": Scale(
        weights="imagenet",
        data=vision_recovery.SCALES["paper"].data,
        layers=("conv1_2", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
        levels=vision_recovery.SCALES["paper"].levels,
        far_levels=(0.999, 0.9999),
        readouts=_readouts("paper", trained=True),
        crops=2,
    ),
}


class RelativeSquaredError(FeatureLoss):
    """Mean squared error over the variance of the perturbed feature.

    A penalty of fixed weight then counts more the noisier the feature is, and equally at every layer.
    """

    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`FeatureLoss`; for images only."""
        return (feature - target).flatten(1).square().mean(1) / target.flatten(1).var(1, correction=0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all readouts, and write tables, figure and sentences."""
    experiment = begin("decoder", __doc__, SCALES, arguments)
    scale = experiment.scale
    extractor = VGG19(scale.weights)
    images = {name: sample.input for name, sample in load_samples(scale.data(experiment), extractor).items()}
    results = pd.concat([measure(experiment, name, extractor, images) for name in scale.readouts], ignore_index=True)
    sizes = labelled_sizes(results, ["readout"])
    nearest = nearest_input(extractor, images, scale)
    columns = ["readout", "layer", "sample", "level", "draw", "feature_distance", "distance", "chance", "nearest_other"]
    points = results[[*columns, "verdict"]]
    experiment.store.write_text("sizes.csv", sizes.to_csv(index=False))
    experiment.store.write_text("nearest.csv", nearest.to_csv(index=False))
    with style():
        figure = draw(points, sizes, nearest, scale.threshold)
    experiment.finish(points, figure, *conclude(points, sizes, nearest, scale.threshold))


def measure(
    experiment: Experiment[Scale], name: str, extractor: FeatureExtractor, images: Mapping[str, Tensor]
) -> pd.DataFrame:
    """Return results of one readout with chance levels, one row per problem."""
    scale, readout = experiment.scale, experiment.scale.readouts[name]()
    loss = RelativeSquaredError() if name == "smooth" else None
    results = experiment.sweep(
        name,
        readout.inversion(extractor, loss=loss),
        scale.data(experiment),
        steps=readout.steps,
        layers=scale.layers,
        levels=scale.levels,
        threshold=scale.threshold,
    )
    recovered = experiment.sweep_store(name).load_recovered(results["key"])
    return with_chance(results, images, recovered).assign(readout=name)


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


def nearest_input(extractor: FeatureExtractor, images: Mapping[str, Tensor], scale: Scale) -> pd.DataFrame:
    """Read out the nearest of all images and their crops by feature; one row per (image, layer, level)."""
    crops = [
        crop for name, image in images.items() for crop in random_crops(image, scale.crops, seed=derive_seed(name))
    ]
    candidates = torch.stack([*images.values(), *crops])
    levels, rows = torch.tensor([*scale.levels, *scale.far_levels], dtype=torch.float64), []
    for layer in scale.layers:
        with torch.no_grad():
            features = torch.cat([extractor.extract(batch, layer) for batch in torch.split(candidates, 16)])
        for place, (name, image) in enumerate(images.items()):
            clean = features[place].expand(len(levels), *features[place].shape)
            seeds = [derive_seed("nearest", name, layer)] * len(levels)
            moved = GaussianPerturbation()(clean, levels, seeds)
            flat = features.flatten(1)
            # ‖f − h'‖² without ‖h'‖², which is equal for all candidates
            found = (flat.square().sum(1) - 2 * moved.flatten(1) @ flat.T).argmin(1)
            distances = correlation_distance(candidates[found], image.expand_as(candidates[found])).tolist()
            moved_by = correlation_distance(moved.double(), clean.double()).tolist()
            for level, distance, away in zip(levels.tolist(), distances, moved_by, strict=True):
                rows.append(
                    {"layer": layer, "sample": name, "level": level, "feature_distance": away, "distance": distance}
                )
    return pd.DataFrame(rows).assign(candidates=len(candidates))


if __name__ == "__main__":
    main()
