"""Which way can a feature move? Sizes by direction, layer and readout, and the dimension of features.

    python -m experiments.directions --scale cpu --images CIFAR10

moves features of a residual network, trained on CIFAR10/train/CLASS, in isotropic noise, within the tangent space of
features and normal to it, toward another image, by loss of units and in the worst direction that is found, and reads
class and image from them; the same for photographs read from VGG19 by a trained decoder. What share of a size in
isotropic noise is redundancy off the manifold of features? Does the size in the worst direction tell correct answers
from wrong ones? And do sizes follow the dimension that is measured at each photograph? ``--scale smoke`` uses digits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.frontier import crops_and_mosaics
from experiments.shared.cifar import CifarTask
from experiments.shared.digits import SMOKE
from experiments.shared.harness import Experiment, begin, sample_sizes, style
from experiments.shared.statistics import columns, group_difference, holm
from experiments.shared.task import Images, Task, confidence, hits_and_misses, right
from experiments.summaries.directions import conclude, draw
from readout import local_dimension
from readout.analysis.statistics import bootstrap_interval
from readout.data import Crops, InputData, Photographs
from readout.extractors import VGG19, FeatureExtractor
from readout.metrics import CorrelationDistance
from readout.perturbations import (
    GaussianPerturbation,
    NearestLoss,
    NormalPerturbation,
    Perturbation,
    TangentPerturbation,
    Toward,
    UnitLoss,
)
from readout.readouts import ClassReadout, Readout, TrainedDecoder
from readout.representation import linear_size


@dataclass(frozen=True)
class Vgg:
    """Photographs read from VGG19 by a trained decoder."""

    weights: str | None
    size: int
    training_data: Callable[[Experiment[Any]], InputData]
    layers: tuple[str, ...]
    levels: tuple[float, ...]
    training_steps: int
    effort: int
    probes: int
    """Random vectors that a dimension is estimated from."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    task: Task
    count: int
    """Number of hits, and of misses."""
    layers: tuple[str, ...]
    levels: tuple[float, ...]
    near_levels: tuple[float, ...]
    """Levels in the worst direction."""
    training_steps: int
    effort: int
    """Steps of a projection on the tangent space, and of the ascent to the nearest loss."""
    vgg: Vgg


LEVELS = (0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NEAR_LEVELS = (0, 1e-4, 3e-4, 1e-3, 2e-3, 3e-3, 4e-3, 6e-3, 8e-3, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3)
VGG_LAYERS = ("conv1_2", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
SCALES = {
    "smoke": Scale(
        *(SMOKE, 3, ("conv1", "conv4"), (0, 0.1, 0.5), (0, 0.01, 0.1), 20, 6),
        vgg=Vgg(None, 16, lambda _: Crops(count=40, size=16), ("conv1_1", "conv2_1"), (0, 0.3, 0.9), 40, 6, 1),
    ),
    "cpu": Scale(
        *(CifarTask(), 40, ("conv1", "conv2", "conv3", "conv4", "block4"), LEVELS, NEAR_LEVELS, 600, 64),
        vgg=Vgg(
            weights="normalized",
            size=64,
            training_data=lambda experiment: crops_and_mosaics(Path(experiment.image_folder()) / "train"),
            layers=VGG_LAYERS,
            levels=LEVELS,
            training_steps=1500,
            effort=400,
            probes=4,
        ),
    ),
    "paper": Scale(
        *(CifarTask(), 500, ("conv1", "conv2", "conv3", "conv4", "block4", "logits"), LEVELS, NEAR_LEVELS, 10_000, 500),
        vgg=Vgg("imagenet", 224, lambda _: Crops(count=20_000, size=224), VGG_LAYERS, LEVELS, 50_000, 2000, 4),
    ),
}


def directions(effort: int) -> dict[str, Perturbation]:
    """Return the perturbations by name."""
    return {
        "isotropic": GaussianPerturbation(),
        "tangent": TangentPerturbation(steps=effort),
        "normal": NormalPerturbation(steps=effort),
        "toward another": Toward(),
        "unit loss": UnitLoss(),
        "nearest loss": NearestLoss(steps=min(effort, 64)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure sizes in every direction, and write tables, figure and sentences."""
    experiment = begin("directions", __doc__, SCALES, arguments)
    scale, vgg = experiment.scale, experiment.scale.vgg
    network, vgg19, photographs = scale.task.network(experiment), VGG19(vgg.weights), Photographs(size=vgg.size)
    test = scale.task.test(experiment)
    samples = hits_and_misses(test, right(network, test), scale.count)
    decoder = TrainedDecoder(
        network, scale.task.training_data(experiment), training_steps=scale.training_steps, batch_size=32
    )
    trained = TrainedDecoder(vgg19, vgg.training_data(experiment), training_steps=vgg.training_steps)
    readouts = {"class": ClassReadout(network), "image": decoder}
    sizes = pd.concat(
        [
            measure(experiment, readouts, Images(samples), scale.layers, scale.levels, scale.effort),
            measure(experiment, {"photograph": trained}, photographs, vgg.layers, vgg.levels, vgg.effort),
        ],
        ignore_index=True,
    )
    sizes["softmax"] = sizes["sample"].map(confidence(network, samples))
    table, tests = summarise(sizes), compare(sizes)
    followed = dimensions(sizes, vgg19, photographs, vgg.probes)
    for name, one in {"table": table, "tests": tests, "dimensions": followed}.items():
        experiment.store.write_text(f"{name}.csv", one.to_csv(index=False))
    with style():
        figure = draw(table, tests)
    experiment.finish(sizes, figure, *conclude(table, tests, followed))


def measure(
    experiment: Experiment[Scale],
    readouts: Mapping[str, Readout],
    data: InputData,
    layers: Sequence[str],
    levels: Sequence[float],
    effort: int,
) -> pd.DataFrame:
    """Return sizes with columns ``readout`` and ``direction``, one row per (readout, direction, layer, sample)."""
    tables = []
    for name, readout in readouts.items():
        for direction, perturbation in directions(effort).items():
            near = direction == "nearest loss"
            # in one folder, so that a decoder is trained once
            results = experiment.sweep(
                name,
                readout,
                data,
                steps=1,
                layers=layers,
                levels=experiment.scale.near_levels if near else levels,
                perturbation=perturbation,
            )
            tables.append(sample_sizes(results).assign(readout=name, direction=direction))
    return pd.concat(tables, ignore_index=True)


def dimensions(sizes: pd.DataFrame, network: FeatureExtractor, data: InputData, probes: int) -> pd.DataFrame:
    """Return sizes of photographs in isotropic noise beside those of linear networks, one row per (layer, sample).

    ``linear`` takes the input's dimension d as it is, ``linear_measured`` the participation ratio of the Jacobian.
    """
    rows = sizes[(sizes["readout"] == "photograph") & (sizes["direction"] == "isotropic")].copy()
    images = {sample.name: sample.input for sample in data}
    found = [
        local_dimension(network, layer, images[sample], probes=probes)
        for layer, sample in zip(rows["layer"].astype(str), rows["sample"].astype(str), strict=True)
    ]
    rows["participation_ratio"] = [each.participation_ratio for each in found]
    for name, dimension in (("linear", "input_dim"), ("linear_measured", "participation_ratio")):
        expansions = rows["feature_dim"] / rows[dimension]
        rows[name] = [linear_size(CorrelationDistance.threshold, expansion) for expansion in expansions]
    kept = ["layer", "sample", "feature_dim", "input_dim", "participation_ratio", "size", "linear", "linear_measured"]
    return rows[kept].reset_index(drop=True)


def summarise(sizes: pd.DataFrame) -> pd.DataFrame:
    """Return the mean size over images with its interval, one row per (readout, direction, layer)."""
    rows = []
    for (readout, direction, layer), group in sizes.groupby(["readout", "direction", "layer"], sort=False):
        what = {"readout": readout, "direction": direction, "layer": layer, "bounds": group["lower_bound"].mean()}
        rows.append({**what, **columns(bootstrap_interval(group["size"]), "size")})
    return pd.DataFrame(rows)


def compare(sizes: pd.DataFrame) -> pd.DataFrame:
    """Return how well class sizes in each direction tell hits from misses, one row per (direction, layer).

    ``p_holm`` is corrected over the layers of a direction. The row ``softmax`` is the largest softmax probability.
    """
    of_class = sizes[sizes["readout"] == "class"]
    rows: list[dict[str, Any]] = [
        {"direction": "softmax", "layer": "logits", **_auc(of_class.drop_duplicates("sample"), "softmax")}
    ]
    for direction, own in of_class.groupby("direction", sort=False):
        found = {layer: _auc(group, "size") for layer, group in own.groupby("layer", sort=False)}
        corrected = holm([row["p"] for row in found.values()])
        for (layer, row), p in zip(found.items(), corrected, strict=True):
            rows.append({"direction": direction, "layer": layer, **row, "p_holm": p})
    return pd.DataFrame(rows)


def _auc(table: pd.DataFrame, measure: str) -> dict[str, float]:
    hits, misses = (table.loc[table["label"] == label, measure] for label in ("hit", "miss"))
    found = group_difference(hits, misses)
    return {**columns(found.auc, "auc"), "p": found.p}


if __name__ == "__main__":
    main()
