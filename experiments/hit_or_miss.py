"""Do inputs that a network classifies correctly have larger representation sizes than misclassified ones?

    python -m experiments.hit_or_miss --scale cpu

uses digits and a small network trained on so few that it often errs; every miss is matched by a hit of its class.
``--scale paper --images IMAGENET`` uses VGG19 and a folder of ImageNet's 1,000 classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from experiments.shared.digits import SMOKE, TRAINED, Training, accuracy, hits_and_misses, invert
from experiments.shared.drawing import COLORS, dots, name_columns
from experiments.shared.harness import Experiment, Readout, begin, sample_sizes, style
from experiments.shared.statistics import GroupDifference, group_difference, holm
from readout.common.errors import ReadoutError
from readout.data import ImageFolder, Sample
from readout.extractors import VGG19, FeatureExtractor
from readout.priors import DeepImagePrior, Pixels

MEASURES = {"size": 1, "mean_distance": -1}
"""Measure → sign of the difference expected for hits."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    training: Training | None
    """Training of the digit network; None for VGG19 on ImageNet."""
    count: int
    """Number of hits, and of misses."""
    layers: str | tuple[str, ...]
    levels: tuple[float, ...]
    readout: Readout
    draws: int = 1
    batch_size: int | None = None


LEVELS = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SCALES = {
    "smoke": Scale(SMOKE, 6, ("conv1", "conv4"), (0, 0.3, 0.7), Readout(Pixels(), 0.1, 30, 0.0), batch_size=64),
    "cpu": Scale(TRAINED, 60, "all", LEVELS, Readout(Pixels(), 0.05, 200, 0.0), draws=2, batch_size=600),
    "paper": Scale(None, 64, "all", (*LEVELS, 0.99), Readout(DeepImagePrior(), 1e-4, 10_000)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure sizes of hits and misses, and compare them layer by layer."""
    experiment = begin("hit_or_miss", __doc__, SCALES, arguments)
    scale = experiment.scale
    extractor, samples, share = _imagenet(experiment) if scale.training is None else _digits(experiment, scale.training)
    results = invert(experiment, scale, "sweep", extractor, samples)
    sizes = sample_sizes(results)
    tests = compare(sizes)
    experiment.store.write_text("tests.csv", tests.to_csv(index=False))
    with style():
        figure = draw(sizes, tests)
    experiment.finish(sizes, figure, *conclude(sizes, tests, share))


def compare(sizes: pd.DataFrame) -> pd.DataFrame:
    """Compare hits with misses: one row per (measure, layer), and one per measure for its slope over depth.

    ``auc`` is the probability that a hit does better than a miss; ``p_holm`` is corrected over the layers of a measure,
    and over measures for the slopes.
    """
    rows = []
    for measure, sign in MEASURES.items():
        found = {str(layer): _difference(group, measure, sign) for layer, group in sizes.groupby("layer", sort=False)}
        corrected = [*holm([difference.p for difference in found.values()]), np.nan]
        found["slope"] = _difference(_slopes(sizes, measure), measure, sign)
        for (layer, difference), p in zip(found.items(), corrected, strict=True):
            rows.append({"measure": measure, "layer": layer, **_row(difference), "p_holm": p})
    table = pd.DataFrame(rows)
    slopes = table["layer"] == "slope"
    table.loc[slopes, "p_holm"] = holm(table.loc[slopes, "p"])
    return table


def draw(sizes: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Plot both measures by layer, one dot per sample, and how well each separates hits from misses."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    *panels, effects = figure.subplots(1, 3)
    layers = list(dict.fromkeys(sizes["layer"]))
    names = {"size": "representation size", "mean_distance": "mean $d_X$ over levels"}
    for axes, measure in zip(panels, MEASURES, strict=True):
        for place, layer in enumerate(layers):
            for shift, color, label in ((-0.2, COLORS[0], "hit"), (0.2, COLORS[1], "miss")):
                group = sizes[(sizes["layer"] == layer) & (sizes["label"] == label)]
                dots(axes, place + shift, group[measure], color, label=label if place == 0 else None)
        axes.set(ylabel=names[measure])
        name_columns(axes, layers)
        axes.legend(frameon=False, fontsize=8)
    for shift, color, (measure, name) in zip((-0.08, 0.08), (COLORS[2], COLORS[5]), names.items(), strict=True):
        group = tests[(tests["measure"] == measure) & (tests["layer"] != "slope")]
        error = [group["auc"] - group["low"], group["high"] - group["auc"]]
        effects.errorbar(np.arange(len(layers)) + shift, group["auc"], error, fmt="o-", color=color, label=name)
    effects.axhline(0.5, color="grey", lw=1, ls=":")
    effects.set(ylabel="AUC, a hit does better than a miss", ylim=(0, 1.02))
    name_columns(effects, layers)
    effects.legend(frameon=False, fontsize=8)
    return figure


def conclude(sizes: pd.DataFrame, tests: pd.DataFrame, share: float) -> tuple[str, str]:
    """State the result in two sentences."""
    layers = tests[(tests["measure"] == "size") & (tests["layer"] != "slope")]
    larger = layers[(layers["p_holm"] < 0.05) & (layers["auc"] > 0.5)]["layer"]
    smaller = layers[(layers["p_holm"] < 0.05) & (layers["auc"] < 0.5)]["layer"]
    best = layers.iloc[int((layers["auc"] - 0.5).abs().to_numpy().argmax())]
    slope = tests[tests["layer"] == "slope"].set_index("measure").loc["size"]
    told = tests[(tests["measure"] == "mean_distance") & (tests["layer"] != "slope")]
    clear = told[(told["p_holm"] < 0.05) & (told["auc"] > 0.5)]["layer"]
    hits, misses = best["hits"], best["misses"]
    unsure = slope["p_holm"] >= 0.05
    steep = "not surely more or less" if unsure else "less" if slope["auc"] > 0.5 else "more"
    means = sizes.groupby(["layer", "label"], sort=False)["size"].mean().unstack()
    gaps = ", ".join(f"{layer} {row['hit'] - row['miss']:+.3f}" for layer, row in means.iterrows())
    return (
        f"The network names {100 * share:.1f} % of its test inputs rightly; {hits} hits have larger sizes than "
        f"{misses} misses at {_listed(larger)} and smaller ones at {_listed(smaller)} (Mann–Whitney, Holm over "
        f"{len(layers)} layers, p < 0.05), and the layer that tells them apart best is {best['layer']}, with an AUC of "
        f"{best['auc']:.2f} ({best['low']:.2f} to {best['high']:.2f}).",
        f"The gap of mean sizes, hit minus miss, is {gaps}; with depth the sizes of hits fall {steep} steeply than "
        f"those of misses (p = {slope['p_holm']:.2g}, Holm over both measures), and by the mean d_X over levels, which "
        f"still tells inputs apart where sizes are 0, hits are recovered better at {_listed(clear)}.",
    )


def _digits(experiment: Experiment[Scale], training: Training) -> tuple[FeatureExtractor, list[Sample], float]:
    """Return the network, hits and misses in alternation, and the accuracy on all test digits."""
    network = training.network(experiment.folder)
    test = training.test()
    return network, hits_and_misses(network, test, experiment.scale.count), accuracy(network, test)


def _imagenet(experiment: Experiment[Scale]) -> tuple[FeatureExtractor, list[Sample], float]:
    """Return the same for VGG19 by torchvision's classifier; folders in alphabetical order are its classes."""
    from torchvision.models import VGG19_Weights, vgg19

    folder = experiment.image_folder()
    data = ImageFolder(folder, limit=16 * experiment.scale.count)
    classes = sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
    if len(classes) != 1000:
        raise ReadoutError(f"The images are of {len(classes)} classes; give ImageNet's 1,000, a folder each.")
    extractor = VGG19("imagenet")
    classifier = vgg19(weights=VGG19_Weights.IMAGENET1K_V1).eval()
    groups: dict[str, list[Sample]] = {"hit": [], "miss": []}
    with torch.no_grad():
        for sample in data:
            named = classes[int(classifier(extractor.preprocess(sample.input.unsqueeze(0))).argmax())]
            verdict = "hit" if named == sample.label else "miss"
            groups[verdict].append(sample._replace(label=verdict))
    count = min(experiment.scale.count, *map(len, groups.values()))
    return extractor, [*groups["hit"][:count], *groups["miss"][:count]], len(groups["hit"]) / len(data)


def _difference(table: pd.DataFrame, measure: str, sign: int) -> GroupDifference:
    values = {label: sign * table.loc[table["label"] == label, measure] for label in ("hit", "miss")}
    return group_difference(values["hit"], values["miss"])


def _row(found: GroupDifference) -> dict[str, float]:
    return {
        "hits": found.counts[0],
        "misses": found.counts[1],
        "auc": found.auc.value,
        "low": found.auc.low,
        "high": found.auc.high,
        "p": found.p,
    }


def _slopes(sizes: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the slope of a measure over the layer's number, one row per sample."""
    table = sizes.pivot(index=["sample", "label"], columns="layer", values=measure)[list(dict.fromkeys(sizes["layer"]))]
    slopes = np.polyfit(np.arange(table.shape[1]), table.to_numpy().T, 1)[0]
    return table.reset_index()[["sample", "label"]].assign(**{measure: slopes})


def _listed(names: "pd.Series[str]") -> str:
    return ", ".join(names) or "no layer"


if __name__ == "__main__":
    main()
