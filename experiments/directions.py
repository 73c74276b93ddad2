"""Which way can a feature move? Sizes by direction, layer and readout.

    python -m experiments.directions --scale cpu --images CIFAR10

moves features of a residual network, trained on CIFAR10/train/CLASS, in isotropic noise, within the tangent space of
features and normal to it, toward another image, by loss of units and in the worst direction that is found, and reads
class and image from them. What share of a size in isotropic noise is redundancy off the manifold of features? And does
the size in the worst direction tell correct answers from wrong ones? ``--scale smoke`` uses digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments.shared.cifar import CifarTask
from experiments.shared.digits import SMOKE
from experiments.shared.harness import Experiment, begin, sample_sizes, style
from experiments.shared.statistics import columns, group_difference, holm
from experiments.shared.task import Images, Task, confidence, hits_and_misses, right
from experiments.summaries.directions import conclude, draw
from readout.analysis.statistics import bootstrap_interval
from readout.extractors import FeatureExtractor
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


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    task: Task
    count: int
    """Number of hits, and of misses."""
    layers: tuple[str, ...]
    levels: tuple[float, ...]
    training_steps: int
    effort: int
    """Steps of a projection on the tangent space, and of the ascent to the nearest loss."""


LEVELS = (0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SCALES = {
    "smoke": Scale(SMOKE, 3, ("conv1", "conv4"), (0, 0.1, 0.5), 20, 6),
    "cpu": Scale(CifarTask(), 40, ("conv1", "conv2", "conv3", "conv4", "block4"), LEVELS, 600, 64),
    "paper": Scale(CifarTask(), 500, ("conv1", "conv2", "conv3", "conv4", "block4", "logits"), LEVELS, 10_000, 500),
}


def directions(effort: int) -> dict[str, Perturbation]:
    """Return the perturbations by name."""
    return {
        "isotropic": GaussianPerturbation(),
        "tangent": TangentPerturbation(steps=effort),
        "normal": NormalPerturbation(steps=effort),
        "toward another": Toward(),
        "unit loss": UnitLoss(),
        "nearest loss": NearestLoss(steps=effort),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure sizes in every direction, and write tables, figure and sentences."""
    experiment = begin("directions", __doc__, SCALES, arguments)
    scale = experiment.scale
    network = scale.task.network(experiment)
    test = scale.task.test(experiment)
    samples = hits_and_misses(test, right(network, test), scale.count)
    sizes = measure(experiment, network, Images(samples))
    sizes["softmax"] = sizes["sample"].map(confidence(network, samples))
    table, tests = summarise(sizes), compare(sizes)
    experiment.store.write_text("table.csv", table.to_csv(index=False))
    experiment.store.write_text("tests.csv", tests.to_csv(index=False))
    with style():
        figure = draw(table, tests)
    experiment.finish(sizes, figure, *conclude(table, tests))


def measure(experiment: Experiment[Scale], network: FeatureExtractor, data: Images) -> pd.DataFrame:
    """Return sizes with columns ``readout`` and ``direction``, one row per (readout, direction, layer, sample)."""
    scale, tables = experiment.scale, []
    decoder = TrainedDecoder(
        network, scale.task.training_data(experiment), training_steps=scale.training_steps, batch_size=32
    )
    readouts: dict[str, Readout] = {"class": ClassReadout(network), "image": decoder}
    settings: dict[str, Any] = {"steps": 1, "layers": scale.layers, "levels": scale.levels}
    for name, readout in readouts.items():
        for direction, perturbation in directions(scale.effort).items():
            # in one folder, so that a decoder is trained once
            results = experiment.sweep(name, readout, data, perturbation=perturbation, **settings)
            tables.append(sample_sizes(results).assign(readout=name, direction=direction))
    return pd.concat(tables, ignore_index=True)


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
