"""Shares at which readouts flip between two images, a figure and two sentences."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.curves import crossing
from experiments.shared.drawing import COLORS
from experiments.shared.statistics import holm
from readout.analysis.statistics import bootstrap_interval, paired_difference
from readout.data.images import to_pixels

PATHS = ("line", "sphere")
SHADES = {"to_x": COLORS[0], "to_y": COLORS[5], "to_mixture": COLORS[2]}
LABELS = {"to_x": "to x", "to_y": "to y", "to_mixture": "to the nearest mixture of x and y"}


def find_flips(points: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return the share where x ends, the share where y begins, and d_H where x ends; one row per (path, layer, pair).

    A pair has NaN unless its ends are recovered: x from f(x), and y from nearly f(y).
    """
    rows = []
    for (path, layer, sample), curve in points[points["path"] != "noise"].groupby(
        ["path", "layer", "sample"], sort=False
    ):
        curve = curve.sort_values("level")
        shares, away = curve["level"].to_numpy(), (1 - curve["level"]).to_numpy()[::-1]
        ends = curve["to_x"].iloc[0] < threshold and curve["to_y"].iloc[-1] < threshold
        end = crossing(shares.tolist(), curve["to_x"].tolist(), threshold)
        start = 1 - crossing(away.tolist(), curve["to_y"].tolist()[::-1], threshold)
        noise = points[(points["path"] == "noise") & (points["layer"] == layer) & (points["sample"] == sample)]
        row = {
            "x_ends": end,
            "y_begins": start,
            "band": start - end,
            "size_toward_y": float(np.interp(end, shares, curve["feature_distance"])),
            "size_in_noise": crossing(noise["feature_distance"].tolist(), noise["to_x"].tolist(), threshold),
        }
        within = curve[(curve["level"] > end) & (curve["level"] < start)]["read_as"]
        row |= {"points_between": len(within), "read_as_both": int((within == "both").sum())}
        measured = row if ends else dict.fromkeys(row, np.nan)
        rows.append({"path": path, "layer": layer, "sample": sample, "toward": curve["toward"].iloc[0], **measured})
    return pd.DataFrame(rows)


def draw(points: pd.DataFrame, threshold: float) -> Figure:
    """Plot distances along both paths, one column per layer, and below them one pair's recovered images."""
    ways = points[points["path"] != "noise"]
    shares, layers = sorted(ways["level"].unique()), list(points["layer"].unique())
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
        panel.axhline(threshold, color="black", lw=1, ls=":")
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
            panel.set_xlabel(by_share.loc[share, "read_as"], fontsize=7, labelpad=1)
            panel.set(xticks=[], yticks=[])
            panel.grid(visible=False)
        axes[0].set_ylabel(f"{layer}\n{path}", fontsize=7)
    for panel, share in zip(grid[0], shares, strict=True):
        panel.set_title(f"{share:g}", fontsize=8)
    return figure


def conclude(flips: pd.DataFrame) -> tuple[str, str]:
    """State the result in two sentences."""
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
    """Describe where x ends and y begins on one kind of path, and what lies between."""
    end, start, band = (bootstrap_interval(group[column]) for column in ("x_ends", "y_begins", "band"))
    kind = "a band that reads as neither alone" if band.value > 0 else "an overlap that reads as both"
    points = int(group["points_between"].sum())
    mixtures = f", of whose {points} points {int(group['read_as_both'].sum())} are mixtures of both" if points else ""
    return (
        f"x is read up to a share of {end} and y from {start}, which leaves {kind}, {abs(band.value):.2f} "
        f"wide{mixtures} ({len(group)} pairs)"
    )
