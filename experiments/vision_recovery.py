"""d_X against d_H by layer, with a Deep Image Prior and without: how far can features move before an image is lost?

    python -m experiments.vision_recovery --scale cpu

The figure also shows other metrics, and recovered images by level. At ``paper`` scale the
images are 64 of your own, ``--images FOLDER``. Run again to resume.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.shared.curves import labelled_sizes
from experiments.shared.drawing import COLORS, dots, name_columns
from experiments.shared.harness import PHOTOGRAPHS, Experiment, Readout, begin, style
from experiments.summaries.vision_recovery import conclude
from readout.analysis.plots import pictured, recovered_images, recovery
from readout.data import ImageFolder, InputData, Photographs
from readout.extractors import VGG19
from readout.priors import DeepImagePrior, Pixels

NAMES = {"dip": "Deep Image Prior", "pixels": "pixels, no prior"}


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    weights: str | None
    data: Callable[[Experiment[Any]], InputData]
    layers: str | tuple[str, ...]
    levels: tuple[float, ...]
    readouts: Mapping[str, Readout]
    threshold: float = 0.1


SCALES = {
    "smoke": Scale(
        weights=None,
        data=lambda _: Photographs(PHOTOGRAPHS[:3], 16),
        layers=("conv1_1", "conv2_1"),
        levels=(0, 0.3, 0.7),
        readouts={
            "dip": Readout(DeepImagePrior(filters=(8, 16)), lr=1e-2, steps=60),
            "pixels": Readout(Pixels(), lr=0.05, steps=60, weight_decay=0.0),
        },
        threshold=0.15,
    ),
    "cpu": Scale(
        weights="normalized",
        data=lambda _: Photographs(PHOTOGRAPHS, 64),
        layers=("conv1_2", "conv2_1", "conv3_1", "conv4_1"),
        levels=(0, 0.3, 0.5, 0.7, 0.9),
        readouts={
            "dip": Readout(DeepImagePrior(filters=(16, 32, 64, 128)), lr=5e-3, steps=150),
            "pixels": Readout(Pixels(), lr=0.05, steps=150, weight_decay=0.0),
        },
    ),
    "paper": Scale(
        weights="imagenet",
        data=lambda experiment: ImageFolder(experiment.image_folder(), 224, 64),
        layers="all",
        levels=(0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99),
        readouts={
            "dip": Readout(DeepImagePrior(), lr=1e-4, steps=10_000),
            "pixels": Readout(Pixels(), lr=0.05, steps=10_000, weight_decay=0.0),
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Invert with and without the prior, and write tables, figures and sentences."""
    experiment = begin("vision_recovery", __doc__, SCALES, arguments)
    results = pd.concat(measure(experiment), ignore_index=True)
    sizes = labelled_sizes(results, ["readout"])
    experiment.store.write_text("sizes.csv", sizes.to_csv(index=False))
    with style():
        figure = draw(results, sizes)
        experiment.store.write_figure("examples", examples(experiment, results))
    table = results[[name for name in results.columns if not name.startswith("trajectory")]]
    experiment.finish(table, figure, *conclude(results, sizes))


def measure(experiment: Experiment[Scale]) -> list[pd.DataFrame]:
    """Return results with trajectories, one table per readout."""
    scale = experiment.scale
    extractor = VGG19(scale.weights)
    return [
        experiment.sweep(
            name,
            readout.inversion(extractor),
            scale.data(experiment),
            steps=readout.steps,
            layers=scale.layers,
            levels=scale.levels,
            threshold=scale.threshold,
        ).assign(readout=name)
        for name, readout in scale.readouts.items()
    ]


def draw(results: pd.DataFrame, sizes: pd.DataFrame) -> Figure:
    """Plot curves with and without the prior, sizes by layer, and two more metrics."""
    figure = Figure(figsize=(12.5, 7.6), layout="constrained")
    ((with_prior, without, by_layer), (ssim, psnr, best)) = figure.subplots(2, 3)
    for axes, name in ((with_prior, "dip"), (without, "pixels")):
        recovery(results[results["readout"] == name], axes)
        axes.set_title(NAMES[name])
    dip = results[results["readout"] == "dip"]
    recovery(dip.assign(distance=dip["best_distance"]), best)
    best.set_title("Deep Image Prior, best iterate")
    layers = list(dict.fromkeys(sizes["layer"]))
    for shift, (name, label) in zip((-0.2, 0.2), NAMES.items(), strict=True):
        for place, layer in enumerate(layers):
            values = sizes[(sizes["readout"] == name) & (sizes["layer"] == layer)]["crossing"]
            dots(
                by_layer,
                place + shift,
                values,
                COLORS[0] if name == "dip" else COLORS[1],
                label=None if place else label,
            )
    name_columns(by_layer, layers, rotation=60 if len(layers) > 6 else 0)
    by_layer.set(ylabel="representation size, $d_H$", title="Sizes (where the curve crosses t)", ylim=(-0.02, 1))
    by_layer.legend(frameon=False, fontsize=8)
    _metric(ssim, results, "ssim", "SSIM")
    _metric(psnr, results, "psnr", "PSNR, dB")
    return figure


def examples(experiment: Experiment[Scale], results: pd.DataFrame) -> Figure:
    """Show recoveries of the first image with the Deep Image Prior, by layer and level."""
    dip = results[results["readout"] == "dip"]
    chosen = pictured(dip, dip["sample"].unique()[:1].tolist())
    store = experiment.sweep_store("dip")
    return recovered_images(chosen, store.load_inputs(chosen["sample"].unique()), store.load_recovered(chosen["key"]))


def _metric(axes: Axes, results: pd.DataFrame, column: str, label: str) -> None:
    """Plot another metric against d_H, solid with the prior, dashed without."""
    layers = list(dict.fromkeys(results["layer"]))
    for (name, layer), group in results.groupby(["readout", "layer"], sort=False):
        color, dashes = COLORS[layers.index(layer) % len(COLORS)], "-" if name == "dip" else "--"
        mean = group.groupby("level")[["feature_distance", column]].mean()
        axes.scatter(group["feature_distance"], group[column], s=6, color=color, alpha=0.25, lw=0)
        axes.plot(mean["feature_distance"], mean[column], dashes, color=color, label=layer if name == "dip" else None)
    axes.set(xlabel="perturbation of the feature, $d_H$", ylabel=label, title=f"{label.split(',')[0]} (- - no prior)")
    axes.legend(frameon=False, fontsize=8, ncols=2 if len(layers) > 6 else 1)


if __name__ == "__main__":
    main()
