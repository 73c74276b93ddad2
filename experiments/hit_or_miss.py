"""Do inputs that a network classifies correctly have larger representation sizes than misclassified ones?

    python -m experiments.hit_or_miss --scale cpu --images CIFAR10

trains a residual network on CIFAR10/train/CLASS, in minutes, and takes images from CIFAR10/test/CLASS; every miss is
matched by a hit of its class. Features are read by inversion, as a class, by identification and by a trained decoder.
``--scale digits`` uses digits and a small network trained on few of them, ``--scale paper --images IMAGENET`` VGG19 and
a folder of ImageNet's 1,000 classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.shared.cifar import CifarTask
from experiments.shared.digits import SMOKE, TRAINED
from experiments.shared.harness import Readout, begin, style
from experiments.shared.reading import LEVELS, Reading, quick, sizes_by_readout
from experiments.shared.smooth import smooth_pixels
from experiments.shared.statistics import auc_gain, columns, group_difference, holm
from experiments.shared.task import ImageNet, Task, confidence, hits_and_misses, right
from experiments.summaries.hit_or_miss import conclude, draw
from readout.priors import DeepImagePrior, Pixels

MEASURES = {"size": 1, "mean_distance": -1}
"""Measure → sign of the difference expected for hits."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    task: Task
    count: int
    """Number of hits, and of misses."""
    reading: Reading


CIFAR_LAYERS = ("conv1", "conv2", "block2", "conv3", "conv4", "block4", "logits")
VGG19_LAYERS = ("features.2", "features.5", "features.10", "features.19", "features.28", "classifier.0", "classifier.6")
SCALES = {
    "smoke": Scale(
        SMOKE,
        6,
        quick(("conv1", "conv4"), (0, 0.3, 0.7)),
    ),
    "digits": Scale(TRAINED, 60, Reading("all", LEVELS, Readout(Pixels(), 0.05, 200, 0.0), draws=2, batch_size=600)),
    "cpu": Scale(
        CifarTask(),
        200,
        Reading(
            CIFAR_LAYERS, (0, 0.2, 0.4, 0.6, 0.8), smooth_pixels(200), inverted=("conv1", "conv2", "conv3", "conv4")
        ),
    ),
    "paper": Scale(
        ImageNet(),
        64,
        Reading(
            *(VGG19_LAYERS, (*LEVELS, 0.99), Readout(DeepImagePrior(), 1e-4, 10_000)),
            training_steps=50_000,
        ),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure sizes of hits and misses with every readout, and compare them layer by layer."""
    experiment = begin("hit_or_miss", __doc__, SCALES, arguments)
    scale = experiment.scale
    network, test = scale.task.network(experiment), scale.task.test(experiment)
    is_right = right(network, test)
    samples = hits_and_misses(test, is_right, scale.count)
    sizes = sizes_by_readout(experiment, "sweeps", scale.task, scale.reading, network, samples)
    sizes["softmax"] = sizes["sample"].map(confidence(network, samples))
    tests = compare(sizes)
    experiment.store.write_text("tests.csv", tests.to_csv(index=False))
    with style():
        figure = draw(sizes, tests)
    experiment.finish(sizes, figure, *conclude(sizes, tests, sum(is_right) / len(test)))


def compare(sizes: pd.DataFrame) -> pd.DataFrame:
    """Compare hits with misses, one row per (readout, measure, layer), and one per readout and measure for the slope.

    The readout ``softmax`` has one row: the network's largest softmax probability. ``auc`` is the probability that a
    hit does better than a miss, and ``gain`` its advantage over that of softmax; ``p_holm`` is corrected over the
    layers of a readout and measure, and over readouts and measures for the slopes.
    """
    inputs = sizes.drop_duplicates("sample")
    rows: list[dict[str, float | str]] = [
        {"readout": "softmax", "measure": "probability", "layer": "logits", **_row(inputs, "softmax", 1)}
    ]
    for readout, own in sizes.groupby("readout", sort=False):
        for measure, sign in MEASURES.items():
            found = {str(layer): _row(group, measure, sign) for layer, group in own.groupby("layer", sort=False)}
            corrected = [*holm([row["p"] for row in found.values()]), np.nan]
            found["slope"] = _row(_slopes(own, measure), measure, sign)
            for (layer, row), p in zip(found.items(), corrected, strict=True):
                rows.append({"readout": str(readout), "measure": measure, "layer": layer, **row, "p_holm": p})
    table = pd.DataFrame(rows)
    slopes = table["layer"] == "slope"
    table.loc[slopes, "p_holm"] = holm(table.loc[slopes, "p"])
    return table


def _row(table: pd.DataFrame, measure: str, sign: int) -> dict[str, float]:
    hits, misses = table[table["label"] == "hit"], table[table["label"] == "miss"]
    values = sign * hits[measure], sign * misses[measure]
    found, gain = group_difference(*values), auc_gain(values, (hits["softmax"], misses["softmax"]))
    return {
        "hits": found.counts[0],
        "misses": found.counts[1],
        **columns(found.auc, "auc"),
        **columns(gain, "gain"),
        "p": found.p,
    }


def _slopes(sizes: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the slope of a measure over the layer's number, one row per sample."""
    inputs = ["sample", "label", "softmax"]
    table = sizes.pivot(index=inputs, columns="layer", values=measure)[list(dict.fromkeys(sizes["layer"]))]
    slopes = np.polyfit(np.arange(table.shape[1]), table.to_numpy().T, 1)[0]
    return table.reset_index()[inputs].assign(**{measure: slopes})


if __name__ == "__main__":
    main()
