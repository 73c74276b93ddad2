"""Figure and sentences of :mod:`experiments.directions`."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS, error_bars, name_columns
from experiments.shared.statistics import interval, rank_correlation


def draw(table: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Plot sizes by layer and direction for each readout, and how well class sizes tell hits from misses."""
    figure = Figure(figsize=(15, 8), layout="constrained")
    *panels, last = figure.subplots(2, 2).flat
    shades = dict(zip(table["direction"].unique(), COLORS, strict=False))
    for axes, (readout, own) in zip(panels, table.groupby("readout", sort=False), strict=True):
        layers = list(own["layer"].unique())
        for place, (direction, group) in enumerate(own.groupby("direction", sort=False)):
            error = error_bars(group, "size")
            where = np.arange(len(layers)) + 0.1 * (place - 2.5)
            axes.errorbar(where, group["size"], error, fmt="o-", ms=4, lw=1, color=shades[direction], label=direction)
        axes.set(title=f"{readout} read", ylabel="representation size", ylim=(-0.02, 1.02))
        name_columns(axes, layers)
    layers = list(table.loc[table["readout"] == "class", "layer"].unique())
    panels[0].legend(frameon=False, fontsize=8)
    for place, (direction, group) in enumerate(tests[tests["direction"] != "softmax"].groupby("direction", sort=False)):
        error = error_bars(group, "auc")
        where = np.arange(len(layers)) + 0.1 * (place - 2.5)
        last.errorbar(where, group["auc"], error, fmt="o-", ms=4, lw=1, color=shades[direction])
    softmax = tests[tests["direction"] == "softmax"].iloc[0]
    last.axhspan(softmax["auc_low"], softmax["auc_high"], color="grey", alpha=0.25, lw=0, label="maximum softmax")
    last.axhline(0.5, color="grey", lw=1, ls=":")
    last.set(title="hit or miss, by class sizes", ylabel="AUC", ylim=(0, 1.02))
    last.legend(frameon=False, fontsize=8)
    name_columns(last, layers)
    return figure


def conclude(table: pd.DataFrame, tests: pd.DataFrame, followed: pd.DataFrame) -> tuple[str, ...]:
    """State the result in one sentence per readout, one on hits and misses, and one on dimension."""
    said = []
    for readout, own in table.groupby("readout", sort=False):
        sizes = own.pivot(index="layer", columns="direction", values="size").loc[list(own["layer"].unique())]
        listed = [
            f"{direction} {', '.join(f'{layer} {size:.2f}' for layer, size in sizes[direction].items())}"
            for direction in own["direction"].unique()
        ]
        shares = (1 - sizes["tangent"] / sizes["isotropic"]).dropna()
        share = ", ".join(f"{layer} {100 * value:.0f} %" for layer, value in shares.items()) or "no layer has any"
        said.append(
            f"Mean sizes when the {readout} is read, by direction: {'; '.join(listed)}. The share of the size in "
            f"isotropic noise that tangent noise lacks: {share}."
        )
    softmax = tests[tests["direction"] == "softmax"].iloc[0]
    best = tests[tests["direction"] != "softmax"].groupby("direction", sort=False)["auc"].idxmax()
    told = [
        f"{row['direction']} {row['auc']:.2f} ({row['auc_low']:.2f} to {row['auc_high']:.2f}; {row['layer']})"
        for _, row in tests.loc[best].iterrows()
    ]
    said.append(
        f"Hits are told from misses by their class sizes with an AUC, at the best layer, of {', '.join(told)}; by "
        f"the largest softmax probability with {interval(softmax)}."
    )
    return (*said, _dimension(followed))


def _dimension(followed: pd.DataFrame) -> str:
    """State whether sizes follow the dimension that is measured."""
    means = followed.groupby("layer", sort=False)[["participation_ratio", "size", "linear", "linear_measured"]].mean()
    listed = [
        f"{layer} {row['participation_ratio']:.0f} of {followed['input_dim'].iloc[0]} dimensions, "
        f"size {row['size']:.2f}, {row['linear']:.2f} and {row['linear_measured']:.2f} expected"
        for layer, row in means.iterrows()
    ]
    rho, measured = (
        rank_correlation(followed[name], followed["size"], clusters=followed["sample"].tolist()).rho
        for name in ("linear", "linear_measured")
    )
    return (
        "Photographs in isotropic noise, with the sizes of linear networks at the input's dimension and at the "
        f"measured one: {'; '.join(listed)}. Rank correlation of sizes with the first {rho.value:.2f}, with the second "
        f"{measured.value:.2f}."
    )
