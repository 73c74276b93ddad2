"""Does an input's representation size tell a correct answer, a usual input and a justified confidence from others?

    python -m experiments.diagnosis --scale cpu --images CIFAR10

compares sizes by inversion, as a class, by identification and by a trained decoder with maximum softmax probability and
energy: on correct and wrong answers, images rotated by 90°, noisy images, and images of no class. The size of an input
is its mean over layers, as decided beforehand; the size at each layer is reported too. ``--scale digits`` uses digits
and letters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments.shared.cifar import CifarTask
from experiments.shared.digits import SMOKE, TRAINED
from experiments.shared.harness import Experiment, Readout, begin, style
from experiments.shared.outliers import letters, noisy, rotated, scenes
from experiments.shared.reading import LEVELS, READOUTS, Reading, quick, sizes_by_readout
from experiments.shared.smooth import smooth_pixels
from experiments.shared.task import Task, classify, right
from experiments.summaries.diagnosis import calibrate, compare, conclude, draw
from readout.data import Sample
from readout.extractors import FeatureExtractor
from readout.priors import Pixels


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    task: Task
    others: Callable[[int], list[Sample]]
    """Makes images of none of the classes."""
    images: int
    """Number of unselected test images."""
    wrong: int
    """Largest number of further, misclassified images."""
    outliers: int
    """Number of outliers of each kind."""
    reading: Reading


DIGIT_LAYERS = ("conv1", "conv2", "conv3", "conv4")
CIFAR_LAYERS = ("conv2", "conv3", "conv4", "block4")
SCALES = {
    "smoke": Scale(
        *(SMOKE, letters, 12, 4, 5),
        quick(("conv1", "conv3"), (0, 0.4, 0.7)),
    ),
    "digits": Scale(
        *(TRAINED, letters, 150, 60, 40),
        Reading(DIGIT_LAYERS, LEVELS, Readout(Pixels(), 0.05, 200, 0.0), batch_size=600),
    ),
    "cpu": Scale(
        *(CifarTask(), scenes, 250, 180, 100),
        Reading(CIFAR_LAYERS, (0, 0.3, 0.6), smooth_pixels(200), inverted=("conv2", "conv3"), choice_draws=2),
    ),
    "paper": Scale(
        *(CifarTask(), scenes, 2000, 500, 500),
        Reading(CIFAR_LAYERS, LEVELS, smooth_pixels(1000), draws=4, training_steps=10_000),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure sizes of all inputs and compare them with other scores."""
    experiment = begin("diagnosis", __doc__, SCALES, arguments)
    inputs = measure(experiment)
    tests, calibration = compare(inputs), calibrate(inputs)
    experiment.store.write_text("tests.csv", tests.to_csv(index=False))
    experiment.store.write_text("calibration.csv", calibration.to_csv(index=False))
    with style():
        figure = draw(inputs, tests, calibration)
    experiment.finish(inputs, figure, *conclude(inputs, tests, calibration))


def measure(experiment: Experiment[Scale]) -> pd.DataFrame:
    """Return one row per input: group, whether its class is correct, and all scores.

    Sizes at single layers are columns ``READOUT LAYER``; ``recovery`` is minus the mean d_X of inversions over layers
    and levels, which distinguishes inputs even where sizes are 0.
    """
    scale = experiment.scale
    network = scale.task.network(experiment)
    grouped = choose(network, scale, experiment)
    samples = [sample for _, sample in grouped]
    logits = classify(network, samples)
    table = pd.DataFrame(
        {
            "sample": [sample.name for sample in samples],
            "group": [group for group, _ in grouped],
            "right": right(network, samples, logits),
            "softmax": logits.softmax(1).amax(1).tolist(),
            "energy": logits.logsumexp(1).tolist(),
        }
    ).set_index("sample")
    sizes = sizes_by_readout(experiment, "sweeps", scale.task, scale.reading, network, samples)
    for readout in READOUTS:
        own = sizes[sizes["readout"] == readout]
        by_layer = own.pivot(index="sample", columns="layer", values="size")[list(own["layer"].unique())]
        table = table.join(by_layer.mean(axis=1).rename(readout)).join(by_layer.add_prefix(f"{readout} "))
    inverted = sizes[sizes["readout"] == "inversion"]
    table["recovery"] = -inverted.groupby("sample")["mean_distance"].mean()
    return table.reset_index()


def choose(network: FeatureExtractor, scale: Scale, experiment: Experiment[Any]) -> list[tuple[str, Sample]]:
    """Choose inputs, each with its group; those of the group ``more`` are all misclassified."""
    test = scale.task.test(experiment)
    usual, later = test[: scale.images], test[scale.images :]
    more = [sample for sample, hit in zip(later, right(network, later), strict=True) if not hit][: scale.wrong]
    names = {sample.name for sample in more}
    spare = [sample for sample in later if sample.name not in names][: scale.outliers]
    groups = {
        "usual": usual,
        "more": more,
        "rotated": [rotated(sample) for sample in spare],
        "noisy": [noisy(sample) for sample in spare],
        "other": scale.others(scale.outliers),
    }
    return [(group, sample) for group, chosen in groups.items() for sample in chosen]


if __name__ == "__main__":
    main()
