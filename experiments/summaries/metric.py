"""Figure and sentences of :mod:`experiments.metric`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS
from experiments.shared.statistics import RankCorrelation, rank_correlation
from readout.analysis.statistics import bootstrap_interval

NAMES = {
    "correlation": "correlation distance",
    "ssim": "1 − SSIM",
    "rmse": "root mean square error",
    "lpips": "LPIPS",
    "dists": "DISTS",
}


def draw(points: pd.DataFrame, null: pd.DataFrame, thresholds: pd.DataFrame, sizes: pd.DataFrame) -> Figure:
    """Plot distances by level and of unrelated images above, sizes against another metric below, per metric."""
    metrics = thresholds["metric"].tolist()
    layers = list(dict.fromkeys(points["layer"]))
    colors = dict(zip(layers, (COLORS * len(layers))[: len(layers)], strict=True))
    figure = Figure(figsize=(3.7 * len(metrics), 7.2), layout="constrained")
    above, below = figure.subplots(2, len(metrics))
    levels = sorted(points["level"].unique())
    for panel, (_, row) in zip(above, thresholds.iterrows(), strict=True):
        metric = row["metric"]
        for layer, group in points.groupby("layer", sort=False):
            places = group["level"].map(levels.index) + np.linspace(-0.2, 0.2, len(layers))[layers.index(layer)]
            panel.scatter(places, group[metric], s=9, color=colors[str(layer)], alpha=0.5, lw=0, label=str(layer))
        parts = panel.violinplot([null[metric]], positions=[len(levels)], widths=0.8, showextrema=False)
        for body in parts["bodies"]:
            body.set_facecolor("grey")
        panel.axhline(row["null"], color="black", lw=1, ls="--", label="unrelated images rarely below")
        panel.axhline(row["matched"], color="black", lw=1, ls=":", label="the paper's, or as many pass")
        panel.set_xticks(range(len(levels) + 1), [*(f"{level:g}" for level in levels), "unrelated"], fontsize=8)
        panel.set(xlabel="level", title=NAMES[metric])
    above[0].set_ylabel("distance to the true image")
    above[0].legend(fontsize=7, frameon=True)
    wide = _wide(sizes, "matched")
    for panel, metric in zip(below, metrics, strict=True):
        other = wide[metric] if metric != "correlation" else _wide(sizes, "null")["correlation"]
        for layer in layers:
            chosen = wide["layer"] == layer
            panel.scatter(wide[chosen]["correlation"], other[chosen], s=22, color=colors[layer], alpha=0.7, lw=0)
        panel.axline((0, 0), (1, 1), color="grey", lw=1, ls=":")
        placed = "as many pass" if metric != "correlation" else "unrelated images"
        panel.set(xlabel="size, correlation at the paper's t", ylabel=f"size, {NAMES[metric]} ({placed})")
        panel.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    return figure


def conclude(
    null: pd.DataFrame, thresholds: pd.DataFrame, sizes: pd.DataFrame, missing: Sequence[str], passing: float
) -> tuple[str, str]:
    """State the result in two sentences; a third one names missing metrics."""
    row = thresholds.set_index("metric").loc["correlation"]
    placed = ", ".join(f"{value:.2f} in {NAMES[metric]}" for metric, value in thresholds[["metric", "null"]].to_numpy())
    correlation = sizes[sizes["metric"] == "correlation"]
    moved = [
        f"from {bootstrap_interval(group[group['placed'] == 'matched']['size'])} to "
        f"{bootstrap_interval(group[group['placed'] == 'null']['size'])} at {layer}"
        for layer, group in correlation.groupby("layer", sort=False)
    ]
    below = f"{100 * row['null_below_matched']:.2g} % of them are" if row["null_below_matched"] else "none of them is"
    first = (
        f"Of {len(null):,} pairs of unrelated images {100 * passing:g} % lie below {placed}; {below} below the paper's "
        f"{row['matched']:g}, and with the threshold placed there instead sizes go {', '.join(moved)}."
    )
    others = [metric for metric in thresholds["metric"] if metric != "correlation"]
    ranks = [f"{NAMES[metric]} {_agreement(sizes, metric)}" for metric in others]
    second = (
        "Sizes by correlation and by another metric, its threshold letting as many inversions pass, have a rank "
        f"correlation (within layers) of: {'; '.join(ranks)}."
    )
    if missing:
        names = " and ".join(NAMES[metric] for metric in missing)
        second += f" {names} could not be measured: their weights are not on this machine."
    return first, second


def _agreement(sizes: pd.DataFrame, metric: str) -> str:
    pooled, within = agreement(sizes, metric)
    parts = ["undefined" if np.isnan(found.rho.value) else str(found.rho) for found in (pooled, within)]
    return f"{parts[0]}, within {parts[1]}"


def agreement(sizes: pd.DataFrame, metric: str) -> tuple[RankCorrelation, RankCorrelation]:
    """Return rank correlations of sizes by a metric with those by correlation: overall, and of ranks within layers."""
    wide = _wide(sizes, "matched")
    clusters = wide["sample"].tolist()
    ranks = wide.groupby("layer")[["correlation", metric]].rank()
    return (
        rank_correlation(wide["correlation"], wide[metric], clusters=clusters),
        rank_correlation(ranks["correlation"], ranks[metric], clusters=clusters),
    )


def _wide(sizes: pd.DataFrame, placed: str) -> pd.DataFrame:
    chosen = sizes[sizes["placed"] == placed]
    return chosen.pivot_table(index=["layer", "sample"], columns="metric", values="size", sort=False).reset_index()
