"""Move a feature from one image's toward another's: where does the readout flip, and what is read in between?

    python -m experiments.misrepresentation --scale cpu

goes from f(x) toward f(y) on the straight line and on the sphere of equal correlation, reads images from the points on
the way, and compares each with x, with y and with every mixture of both. Gaussian noise at the same layers says how
far the feature moves in a direction that leads nowhere. Run again to resume.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.shared.curves import crossing
from experiments.shared.drawing import COLORS
from experiments.shared.harness import PHOTOGRAPHS, Experiment, Readout, begin, style
from experiments.shared.toward import PATHS, TowardNext
from readout.analysis.statistics import bootstrap_interval, holm, paired_difference
from readout.data import Photographs, load_samples
from readout.data.images import to_pixels
from readout.extractors import VGG19
from readout.metrics import correlation_distance
from readout.priors import DeepImagePrior
from readout.store import ResultStore

READINGS = ("x", "both", "neither", "y")
SHADES = {"to_x": COLORS[0], "to_y": COLORS[5], "to_mixture": COLORS[2]}
LABELS = {"to_x": "to x", "to_y": "to y", "to_mixture": "to the nearest mixture of x and y"}


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

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
    """Measure both paths and noise, and write tables, figure and sentences."""
    experiment = begin("misrepresentation", __doc__, SCALES, arguments)
    points = measure(experiment)
    flips = find_flips(points, experiment.scale)
    experiment.store.write_text("flips.csv", flips.to_csv(index=False))
    with style():
        figure = draw(points, experiment.scale)
    experiment.finish(points.drop(columns="picture"), figure, *conclude(flips))


def measure(experiment: Experiment[Scale]) -> pd.DataFrame:
    """One row a problem: what was read, and how far it is from x, from y and from a mixture of both."""
    scale = experiment.scale
    extractor, data = VGG19(scale.weights), Photographs(scale.images, scale.size)
    inputs = {name: sample.input for name, sample in load_samples(data, extractor).items()}
    settings: dict[str, Any] = {"steps": scale.readout.steps, "layers": scale.layers, "threshold": scale.threshold}
    tables = []
    for path in (*PATHS, "noise"):
        kind = None if path == "noise" else TowardNext.among(inputs, extractor, scale.layers, path)  # type: ignore[arg-type]
        levels = scale.levels if path == "noise" else scale.shares
        inversion = scale.readout.inversion(extractor)
        found = experiment.sweep(path, inversion, data, levels=levels, perturbation=kind, **settings)
        tables.append(_compare(found.assign(path=path), inputs, experiment.sweep_store(path), scale.threshold))
    columns = ["path", "layer", "sample", "toward", "level", "feature_distance", *SHADES, "reading", "picture"]
    return pd.concat(tables, ignore_index=True)[columns]


def _compare(results: pd.DataFrame, inputs: Mapping[str, Tensor], store: ResultStore, threshold: float) -> pd.DataFrame:
    names = list(inputs)
    recovered = store.load_recovered(results["key"])
    rows = []
    for key, sample in zip(results["key"], results["sample"], strict=True):
        other = names[(names.index(sample) + 1) % len(names)]
        to_x, to_y, to_mixture = distances(recovered[key], inputs[sample], inputs[other])
        reading = read_as(to_x, to_y, to_mixture, threshold)
        rows.append(
            {"toward": other, "to_x": to_x, "to_y": to_y, "to_mixture": to_mixture, "reading": reading}
            | {"picture": recovered[key]}
        )
    return results.join(pd.DataFrame(rows))


def distances(image: Tensor, x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """Correlation distance of an image to x, to y, and to the mixture of both (and a constant) that is nearest."""
    both = torch.stack([part.double().flatten() for part in (torch.ones_like(x), x, y)], dim=1)
    seen = image.double().flatten()
    mixture = both @ torch.linalg.lstsq(both, seen.unsqueeze(1)).solution.squeeze(1)
    images = torch.stack([x.double().flatten(), y.double().flatten(), mixture])
    to_x, to_y, to_mixture = correlation_distance(seen.expand_as(images), images).tolist()
    return to_x, to_y, to_mixture


def read_as(to_x: float, to_y: float, to_mixture: float, threshold: float) -> str:
    """Which of :data:`READINGS` an image is."""
    if (to_x < threshold) != (to_y < threshold):
        return "x" if to_x < threshold else "y"
    return "both" if min(to_x, to_mixture) < threshold else "neither"


def find_flips(points: pd.DataFrame, scale: Scale) -> pd.DataFrame:
    """One row a (path, layer, pair): the share at which x ends, at which y begins, and d_H where x ends.

    A pair whose ends are not read, x from f(x) or y from nearly f(y), says nothing of the way and has NaN.
    """
    rows = []
    for (path, layer, sample), curve in points[points["path"] != "noise"].groupby(
        ["path", "layer", "sample"], sort=False
    ):
        curve = curve.sort_values("level")
        shares, away = curve["level"].to_numpy(), (1 - curve["level"]).to_numpy()[::-1]
        ends = curve["to_x"].iloc[0] < scale.threshold and curve["to_y"].iloc[-1] < scale.threshold
        end = crossing(shares.tolist(), curve["to_x"].tolist(), scale.threshold)
        start = 1 - crossing(away.tolist(), curve["to_y"].tolist()[::-1], scale.threshold)
        noise = points[(points["path"] == "noise") & (points["layer"] == layer) & (points["sample"] == sample)]
        row = {
            "x_ends": end,
            "y_begins": start,
            "band": start - end,
            "size_toward_y": float(np.interp(end, shares, curve["feature_distance"])),
            "size_in_noise": crossing(noise["feature_distance"].tolist(), noise["to_x"].tolist(), scale.threshold),
        }
        within = curve[(curve["level"] > end) & (curve["level"] < start)]["reading"]
        row |= {"points_between": len(within), "read_as_both": int((within == "both").sum())}
        measured = row if ends else dict.fromkeys(row, np.nan)
        rows.append({"path": path, "layer": layer, "sample": sample, "toward": curve["toward"].iloc[0], **measured})
    return pd.DataFrame(rows)


def draw(points: pd.DataFrame, scale: Scale) -> Figure:
    """Distances along both paths, a column a layer; below, what is read on the way of one pair."""
    shares, layers = list(scale.shares), list(scale.layers)
    first = points["sample"].iloc[0]
    figure = Figure(figsize=(max(7.0, 4.2 * len(layers)), 4.2 + 1.15 * 2 * len(layers)), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[4.0, 1.15 * 2 * len(layers)])
    upper, lower = parts
    panels = upper.subplots(1, len(layers), sharey=True, squeeze=False)[0]
    for panel, layer in zip(panels, layers, strict=True):
        for path, dashes in zip(PATHS, ("-", "--"), strict=True):
            group = points[(points["path"] == path) & (points["layer"] == layer)]
            for column, color in SHADES.items():
                for _, curve in group.groupby("sample"):
                    panel.plot(curve["level"], curve[column], dashes, color=color, lw=0.6, alpha=0.35)
                mean = group.groupby("level")[column].mean()
                label = f"{LABELS[column]}" if path == "line" else None
                panel.plot(mean.index, mean, dashes, color=color, lw=2.2, label=label)
        panel.axhline(scale.threshold, color="black", lw=1, ls=":")
        panel.set(title=layer, xlabel="share of the way from f(x) to f(y)", ylim=(-0.02, None))
    panels[0].set_ylabel("$d_X$ of what is read")
    panels[0].plot([], [], "-", color="black", label="on the line")
    panels[0].plot([], [], "--", color="black", label="on the sphere")
    panels[0].legend(fontsize=7.5, frameon=True, framealpha=0.85)
    grid = lower.subplots(2 * len(layers), len(shares), squeeze=False)
    rows = [(layer, path) for layer in layers for path in PATHS]
    for axes, (layer, path) in zip(grid, rows, strict=True):
        chosen = points[(points["layer"] == layer) & (points["path"] == path) & (points["sample"] == first)]
        by_share = chosen.set_index("level")
        for panel, share in zip(axes, shares, strict=True):
            panel.imshow(to_pixels(by_share.loc[share, "picture"]))
            panel.set_xlabel(by_share.loc[share, "reading"], fontsize=7, labelpad=1)
            panel.set(xticks=[], yticks=[])
            panel.grid(visible=False)
        axes[0].set_ylabel(f"{layer}\n{path}", fontsize=7)
    for panel, share in zip(grid[0], shares, strict=True):
        panel.set_title(f"{share:g}", fontsize=8)
    return figure


def conclude(flips: pd.DataFrame) -> tuple[str, str]:
    """Two sentences, written from the numbers."""
    told = flips.dropna(subset=["band"])
    if told.empty:
        return (
            f"At none of the layers {', '.join(flips['layer'].unique())} were both ends of a way read, so nothing can "
            "be said of where the readout flips.",
            "More steps, or a shallower layer, would be needed.",
        )
    ways = [(f"{layer} on the {path}", group) for (layer, path), group in told.groupby(["layer", "path"], sort=False)]
    tests = [paired_difference(group["size_toward_y"], group["size_in_noise"]) for _, group in ways]
    sizes = [
        f"{way}, {abs(test.mean.value):.2f} {'farther' if test.mean.value > 0 else 'less far'} (p = {p:.2g})"
        for (way, _), test, p in zip(ways, tests, holm([test.p for test in tests]), strict=True)
    ]
    return (
        "Moving a feature from one image's toward another's: at "
        + "; at ".join(f"{way}, {_between(group)}" for way, group in ways)
        + ".",
        "Compared with Gaussian noise, in d_H and with Holm's correction, x is read toward another image at "
        + "; at ".join(sizes)
        + ".",
    )


def _between(group: pd.DataFrame) -> str:
    """Where x ends and y begins on one kind of way, and what lies between."""
    end, start, band = (bootstrap_interval(group[column]) for column in ("x_ends", "y_begins", "band"))
    kind = "a band that reads as neither alone" if band.value > 0 else "an overlap that reads as both"
    points = int(group["points_between"].sum())
    mixtures = f", of whose {points} points {int(group['read_as_both'].sum())} are mixtures of both" if points else ""
    return (
        f"x is read up to a share of {end} and y from {start}, which leaves {kind}, {abs(band.value):.2f} "
        f"wide{mixtures} ({len(group)} pairs)"
    )


if __name__ == "__main__":
    main()
