"""Does an input's representation size tell a correct answer, a usual input and a justified confidence from others?

    python -m experiments.diagnosis --scale cpu

compares sizes with maximum softmax probability and energy on digits: correct and wrong answers, digits rotated by 90°,
noisy digits, letters. The size of an input is its mean over layers, as decided beforehand; the size at each layer is
reported too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from experiments.shared.digits import SMOKE, TRAINED, Training, classify, invert
from experiments.shared.harness import Experiment, Readout, begin, sample_sizes, style
from experiments.shared.outliers import letters, noisy, rotated
from experiments.summaries.diagnosis import calibrate, compare, conclude, draw
from readout.data import Sample
from readout.extractors import DigitNet
from readout.priors import Pixels


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    training: Training
    digits: int
    """Number of unselected test digits."""
    wrong: int
    """Largest number of further, misclassified digits."""
    outliers: int
    """Number of outliers of each kind."""
    layers: tuple[str, ...]
    levels: tuple[float, ...]
    readout: Readout
    draws: int = 1
    batch_size: int | None = None


LAYERS = ("conv1", "conv2", "conv3", "conv4")
LEVELS = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SCALES = {
    "smoke": Scale(
        *(SMOKE, 12, 4, 5, ("conv1", "conv3"), (0, 0.4, 0.7), Readout(Pixels(), 0.1, 30, 0.0)), batch_size=128
    ),
    "cpu": Scale(TRAINED, 150, 60, 40, LAYERS, LEVELS, Readout(Pixels(), 0.05, 200, 0.0), batch_size=600),
    "paper": Scale(TRAINED, 900, 100, 200, LAYERS, LEVELS, Readout(Pixels(), 0.05, 1000, 0.0), draws=4),
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
    """Return one row per input: group, whether its class is correct, all scores, and the size at each layer."""
    scale = experiment.scale
    network = scale.training.network(experiment.folder)
    samples = choose(network, scale)
    results = invert(experiment, scale, "sweep", network, list(samples.values()))
    sizes = sample_sizes(results)
    by_layer = sizes.pivot(index="sample", columns="layer", values="size")[list(scale.layers)]
    logits = {name: classify(network, sample.input.unsqueeze(0))[0] for name, sample in samples.items()}
    table = pd.DataFrame(
        {
            "sample": list(samples),
            "group": [str(sample.label).partition(" ")[0] for sample in samples.values()],
            "right": [str(logits[name].argmax().item()) == _class(sample) for name, sample in samples.items()],
            "softmax": [float(logits[name].softmax(0).max()) for name in samples],
            "energy": [float(logits[name].logsumexp(0)) for name in samples],
        }
    ).set_index("sample")
    table["size"] = by_layer.mean(axis=1)
    table["recovery"] = -sizes.groupby("sample")["mean_distance"].mean()
    return table.join(by_layer.add_prefix("size_")).reset_index()


def choose(network: DigitNet, scale: Scale) -> dict[str, Sample]:
    """Choose inputs, labelled with group and class: ``digit 7``, ``more 7`` (misclassified only), ``letter B``."""
    test = scale.training.test()
    wrong = classify(network, test.images()).argmax(1) != test.labels()
    digits = list(range(scale.digits))
    more = [place for place in range(scale.digits, len(test)) if wrong[place]][: scale.wrong]
    spare = [test[place] for place in range(scale.digits, len(test)) if place not in more][: scale.outliers]
    groups = {
        "digit": [test[place] for place in digits],
        "more": [test[place] for place in more],
        "rotated": [rotated(sample) for sample in spare],
        "noisy": [noisy(sample) for sample in spare],
        "letter": letters(scale.outliers),
    }
    named = [sample._replace(label=f"{group} {sample.label}") for group, chosen in groups.items() for sample in chosen]
    return {sample.name: sample for sample in named}


def _class(sample: Sample) -> str:
    return str(sample.label).rpartition(" ")[2]


if __name__ == "__main__":
    main()
