"""Move a feature from one image's toward another's: where does the readout flip, and what does it recover in between?

    python -m experiments.misrepresentation --scale cpu

moves f(x) toward f(y) on a straight line and on a great circle, recovers images on the way, and compares each with x,
with y and with the mixtures of both. Gaussian noise at the same layers shows how far the feature can move in random
directions. Run again to resume.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from experiments.shared.harness import PHOTOGRAPHS, Experiment, Readout, begin, style
from experiments.summaries.misrepresentation import PATHS, SHADES, conclude, draw, find_flips
from readout.data import Photographs, load_samples
from readout.extractors import VGG19
from readout.metrics import correlation_distance
from readout.perturbations import Toward
from readout.priors import DeepImagePrior
from readout.store import ResultStore


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    weights: str | None
    size: int
    images: tuple[str, ...]
    layers: tuple[str, ...]
    shares: tuple[float, ...]
    levels: tuple[float, ...]
    readout: Readout
    threshold: float = 0.1


SCALES = {
    "smoke": Scale(
        weights=None,
        size=16,
        images=PHOTOGRAPHS[:3],
        layers=("conv1_1",),
        shares=(0, 0.5, 0.98),
        levels=(0, 0.5),
        readout=Readout(DeepImagePrior(filters=(8, 16)), lr=1e-2, steps=100),
        threshold=0.3,
    ),
    "cpu": Scale(
        weights="normalized",
        size=64,
        images=PHOTOGRAPHS,
        layers=("conv1_2", "conv3_1"),
        shares=(0, 0.2, 0.4, 0.5, 0.6, 0.8, 0.98),
        levels=(0, 0.3, 0.6, 0.9),
        readout=Readout(DeepImagePrior(filters=(16, 32, 64, 128)), lr=5e-3, steps=150),
    ),
    "paper": Scale(
        weights="imagenet",
        size=224,
        images=PHOTOGRAPHS,
        layers=("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4"),
        shares=(0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9, 0.98),
        levels=(0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99),
        readout=Readout(DeepImagePrior(), lr=1e-4, steps=10_000),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both paths and noise, and write tables, figure and sentences."""
    experiment = begin("misrepresentation", __doc__, SCALES, arguments)
    scale = experiment.scale
    points = measure(experiment)
    flips = find_flips(points, scale.threshold)
    experiment.store.write_text("flips.csv", flips.to_csv(index=False))
    with style():
        figure = draw(points, scale.threshold)
    experiment.finish(points.drop(columns="picture"), figure, *conclude(flips))


def measure(experiment: Experiment[Scale]) -> pd.DataFrame:
    """Return one row per problem, with distances of the recovered image to x, to y and to a mixture of both."""
    scale = experiment.scale
    extractor, data = VGG19(scale.weights), Photographs(scale.images, scale.size)
    inputs = {name: sample.input for name, sample in load_samples(data, extractor).items()}
    settings: dict[str, Any] = {"steps": scale.readout.steps, "layers": scale.layers, "threshold": scale.threshold}
    tables = []
    for path in (*PATHS, "noise"):
        kind = None if path == "noise" else Toward(path)  # type: ignore[arg-type]
        levels = scale.levels if path == "noise" else scale.shares
        inversion = scale.readout.inversion(extractor)
        found = experiment.sweep(path, inversion, data, levels=levels, perturbation=kind, **settings)
        tables.append(_compare(found.assign(path=path), inputs, experiment.sweep_store(path), scale.threshold))
    columns = ["path", "layer", "sample", "toward", "level", "feature_distance", *SHADES, "read_as", "picture"]
    return pd.concat(tables, ignore_index=True)[columns]


def _compare(results: pd.DataFrame, inputs: Mapping[str, Tensor], store: ResultStore, threshold: float) -> pd.DataFrame:
    names = list(inputs)
    recovered = store.load_recovered(results["key"])
    rows = []
    for key, sample in zip(results["key"], results["sample"], strict=True):
        other = names[(names.index(sample) + 1) % len(names)]
        to_x, to_y, to_mixture = distances(recovered[key], inputs[sample], inputs[other])
        kind = read_as(to_x, to_y, to_mixture, threshold)
        rows.append(
            {"toward": other, "to_x": to_x, "to_y": to_y, "to_mixture": to_mixture, "read_as": kind}
            | {"picture": recovered[key]}
        )
    return results.join(pd.DataFrame(rows))


def distances(image: Tensor, x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """Return correlation distances of an image to x, to y, and to the nearest mixture of x, y and a constant."""
    both = torch.stack([part.double().flatten() for part in (torch.ones_like(x), x, y)], dim=1)
    seen = image.double().flatten()
    mixture = both @ torch.linalg.lstsq(both, seen.unsqueeze(1)).solution.squeeze(1)
    images = torch.stack([x.double().flatten(), y.double().flatten(), mixture])
    to_x, to_y, to_mixture = correlation_distance(seen.expand_as(images), images).tolist()
    return to_x, to_y, to_mixture


def read_as(to_x: float, to_y: float, to_mixture: float, threshold: float) -> str:
    """Classify a recovered image as ``x``, ``y``, ``both`` or ``neither``."""
    if (to_x < threshold) != (to_y < threshold):
        return "x" if to_x < threshold else "y"
    return "both" if min(to_x, to_mixture) < threshold else "neither"


if __name__ == "__main__":
    main()
