"""Can a recovery curve and its size be predicted from the network's Jacobian, without an inversion?

    python -m experiments.prediction --scale cpu

measures curves with a Deep Image Prior and with pixels, predicts both, and shows where predictions fail: the MAP
estimate on the nonlinear network isolates the linearisation error. Run again to resume.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pandas as pd
import torch
from torch import Tensor

from experiments.shared.curves import at_discrepancy
from experiments.shared.harness import PHOTOGRAPHS, Experiment, Readout, begin, style
from experiments.shared.posterior_mode import posterior_mode
from experiments.summaries.prediction import PAPER_STEPS, STOPS, compare_sizes, conclude, draw, summarise
from readout.data import InputData, Photographs, load_samples
from readout.extractors import VGG19, FeatureExtractor
from readout.metrics import correlation_distance
from readout.perturbations import GaussianPerturbation, noise_to_signal
from readout.prediction import NaturalImages, prediction_table
from readout.priors import DeepImagePrior, Pixels
from readout.store import ResultStore

POINT = ["layer", "sample", "level"]


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    weights: str | None
    size: int
    images: tuple[str, ...]
    layers: str | tuple[str, ...]
    levels: tuple[float, ...]
    readouts: Mapping[str, Readout]
    """Measured readouts."""
    predicted_with: ClassVar[Mapping[str, Literal["natural", "none"]]] = {"dip": "natural", "pixels": "none"}
    """Readout → prior of its prediction."""
    batch_size: int | Literal["auto"] = "auto"
    threshold: float = 0.1
    prediction: Mapping[str, int] = field(default_factory=dict)


def _readouts(filters: tuple[int, ...], lr: float, steps: int, pixel_steps: int) -> dict[str, Readout]:
    return {
        "dip": Readout(DeepImagePrior(filters=filters), lr, steps),
        "pixels": Readout(Pixels(), 0.05, pixel_steps, weight_decay=0.0),
    }


SCALES = {
    "smoke": Scale(
        weights=None,
        size=16,
        images=PHOTOGRAPHS[:3],
        layers=("conv1_1", "conv2_1"),
        levels=(0.3, 0.7),
        readouts=_readouts((4, 8), 1e-2, 20, 20),
        threshold=0.5,
        prediction={"max_iterations": 12},
    ),
    "cpu": Scale(
        weights="normalized",
        size=64,
        images=PHOTOGRAPHS[:3],
        layers=("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_3", "conv4_1"),
        levels=(0.1, 0.3, 0.5, 0.7, 0.9),
        readouts=_readouts((16, 32, 64, 128), 1e-3, 400, 150),
        batch_size=5,
    ),
    "paper": Scale(
        weights="imagenet",
        size=224,
        images=PHOTOGRAPHS,
        layers="all",
        levels=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99),
        readouts=_readouts((16, 32, 64, 128, 256), 1e-4, PAPER_STEPS, PAPER_STEPS),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, predict, compare, and write table, figure and sentences."""
    experiment = begin("prediction", __doc__, SCALES, arguments)
    scale = experiment.scale
    data = Photographs(scale.images, scale.size)
    extractor = VGG19(scale.weights)
    measured = {name: measure(experiment, name, extractor, data) for name in scale.readouts}
    inputs = {name: sample.input for name, sample in load_samples(data, extractor).items()}
    extractor = extractor.cuda() if torch.cuda.is_available() else extractor
    tables = {
        name: results.merge(predict(extractor, inputs, scale, scale.predicted_with[name]), on=POINT)
        for name, results in measured.items()
    }
    tables["dip"] = tables["dip"].merge(nonlinear(extractor, inputs, scale, experiment.store), on=POINT)
    points = pd.concat([table.assign(readout=name) for name, table in tables.items()], ignore_index=True)
    sizes = compare_sizes(points, scale.threshold)
    summary = summarise(points, sizes)
    experiment.store.write_text("sizes.csv", sizes.to_csv(index=False))
    experiment.store.write_text("summary.csv", summary.to_csv(index=False))
    print(summary.to_string(index=False, float_format="{:.3f}".format))
    with style():
        figure = draw(points, sizes)
    experiment.finish(points, figure, conclude(points, summary))


def measure(experiment: Experiment[Scale], name: str, extractor: FeatureExtractor, data: InputData) -> pd.DataFrame:
    """Run or resume a sweep; return one row per problem, with the iterate that reaches the discrepancy."""
    scale = experiment.scale
    results = experiment.sweep(
        name,
        scale.readouts[name].inversion(extractor, record_every=5),
        data,
        steps=scale.readouts[name].steps,
        layers=scale.layers,
        levels=scale.levels,
        batch_size=scale.batch_size,
    )
    return results.assign(stopped_distance=[at_discrepancy(row)[1] for _, row in results.iterrows()])[
        [*POINT, *STOPS.values(), "feature_dim", "input_dim", "steps", "seconds"]
    ]


def predict(extractor: FeatureExtractor, inputs: Mapping[str, Tensor], scale: Scale, prior: str) -> pd.DataFrame:
    """Return predicted curves and sizes; with a prior also those of an average image."""
    settings: dict[str, Any] = {"levels": scale.levels, "threshold": scale.threshold, **scale.prediction}
    layers = extractor.resolve(scale.layers)
    table = prediction_table(extractor, layers, inputs, prior=prior, **settings)
    table = table.rename(columns={"seconds": "predicted_seconds"})
    if prior == "none":
        return table
    average = prediction_table(extractor, layers, inputs, average=True, **settings)
    names = {"predicted_distance": "average_distance", "predicted_size": "average_size"}
    return table.merge(average.rename(columns=names)[[*POINT, *names.values()]], on=POINT)


def nonlinear(
    extractor: FeatureExtractor, inputs: Mapping[str, Tensor], scale: Scale, store: ResultStore
) -> pd.DataFrame:
    """Return d_X of MAP estimates on the nonlinear network, computed layer by layer and kept on disk."""
    tables = []
    for layer in extractor.resolve(scale.layers):
        name = f"mode/{layer}-{len(inputs)}.csv"
        if not (store.folder / name).exists():
            rows = [row for sample, x in inputs.items() for row in _mode_curve(extractor, layer, sample, x, scale)]
            store.write_text(name, pd.DataFrame(rows).to_csv(index=False))
        tables.append(pd.read_csv(store.folder / name))
    return pd.concat(tables, ignore_index=True)


def _mode_curve(
    extractor: FeatureExtractor, layer: str, sample: str, x: Tensor, scale: Scale
) -> list[dict[str, str | float]]:
    """Return d_X of the MAP estimate under the prediction's prior and noise, one row per level."""
    x = x.to(extractor.mean)
    feature = extractor.extract(x.unsqueeze(0), layer)
    variance, prior = float(feature.double().var(unbiased=False)), NaturalImages(x)
    rows: list[dict[str, str | float]] = []
    for level in scale.levels:
        perturbed = GaussianPerturbation()(feature, torch.tensor([level]), [0])[0]
        found = posterior_mode(extractor, layer, perturbed, variance * noise_to_signal(level) ** 2, prior)
        distance = float(correlation_distance(found.unsqueeze(0), x.unsqueeze(0)))
        rows.append({"layer": layer, "sample": sample, "level": level, "mode_distance": distance})
    return rows


if __name__ == "__main__":
    main()
