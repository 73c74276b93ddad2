"""Figure and sentences of :mod:`experiments.hit_or_miss`."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS, dots, error_bars, name_columns
from experiments.shared.statistics import interval

NAMES = {"size": "representation size", "mean_distance": "mean $d_S$ over levels"}


def draw(sizes: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Plot sizes by layer and readout, one dot per sample, and how well both measures separate hits from misses."""
    readouts = list(sizes["readout"].unique())
    layers = list(sizes.loc[sizes["readout"] == readouts[-1], "layer"].unique())  # inversions may have fewer
    figure = Figure(figsize=(4 * len(readouts), 8), layout="constrained")
    top, bottom = np.ravel(np.asarray(figure.subfigures(2, 1)))
    for axes, readout in zip(top.subplots(1, len(readouts), sharey=True), readouts, strict=True):
        own = sizes[sizes["readout"] == readout]
        for place, layer in enumerate(layers):
            for shift, color, label in ((-0.2, COLORS[0], "hit"), (0.2, COLORS[1], "miss")):
                group = own[(own["layer"] == layer) & (own["label"] == label)]
                dots(axes, place + shift, group["size"], color, label=label if place == 0 else None)
        axes.set_title(readout)
        name_columns(axes, layers, rotation=30)
    top.axes[0].set_ylabel(NAMES["size"])
    top.axes[0].legend(frameon=False, fontsize=8)
    for axes, measure in zip(bottom.subplots(1, len(NAMES), sharey=True), NAMES, strict=True):
        _draw_aucs(axes, tests, measure, layers)
    bottom.axes[0].set(ylabel="AUC, a hit does better than a miss", ylim=(0, 1.02))
    bottom.axes[0].legend(frameon=False, fontsize=8)
    return figure


def _draw_aucs(axes: Axes, tests: pd.DataFrame, measure: str, layers: list[str]) -> None:
    own = tests[(tests["measure"] == measure) & (tests["layer"] != "slope")]
    for place, (readout, group) in enumerate(own.groupby("readout", sort=False)):
        error = error_bars(group, "auc")
        where = group["layer"].map(layers.index) + 0.08 * (place - 1.5)
        axes.errorbar(where, group["auc"], error, fmt="o-", color=COLORS[2 + place], label=str(readout))
    softmax = tests[tests["readout"] == "softmax"].iloc[0]
    axes.axhspan(softmax["auc_low"], softmax["auc_high"], color="grey", alpha=0.25, lw=0, label="maximum softmax")
    axes.axhline(0.5, color="grey", lw=1, ls=":")
    axes.set_title(NAMES[measure])
    name_columns(axes, layers, rotation=30)


def conclude(sizes: pd.DataFrame, tests: pd.DataFrame, share: float) -> tuple[str, ...]:
    """State the result in one sentence on the network and one per readout."""
    softmax = tests[tests["readout"] == "softmax"].iloc[0]
    return (
        f"The network names {100 * share:.1f} % of its test images correctly; its largest softmax probability tells "
        f"{softmax['hits']:.0f} hits from {softmax['misses']:.0f} misses of the same classes with an AUC of "
        f"{interval(softmax)}.",
        *[_say(str(readout), own, tests) for readout, own in sizes.groupby("readout", sort=False)],
    )


def _say(readout: str, sizes: pd.DataFrame, tests: pd.DataFrame) -> str:
    own = tests[tests["readout"] == readout]
    layers = own[(own["measure"] == "size") & (own["layer"] != "slope")]
    distances = own[(own["measure"] == "mean_distance") & (own["layer"] != "slope")]
    best = layers.iloc[int((layers["auc"] - 0.5).abs().to_numpy().argmax())]
    slope = own[(own["layer"] == "slope") & (own["measure"] == "size")].iloc[0]
    steep = "not surely more or less" if slope["p_holm"] >= 0.05 else "less" if slope["auc"] > 0.5 else "more"
    means = sizes.groupby(["layer", "label"], sort=False)["size"].mean().unstack()
    gaps = ", ".join(f"{layer} {row['hit'] - row['miss']:+.3f}" for layer, row in means.iterrows())
    return (
        f"By {readout}, hits have larger sizes than misses at {_sure(layers, 1)} and smaller ones at "
        f"{_sure(layers, -1)} (Mann–Whitney, Holm over {len(layers)} layers, p < 0.05), best told apart at "
        f"{best['layer']} with an AUC of {interval(best)}, and better than by softmax at "
        f"{_listed(layers.loc[layers['gain_low'] > 0, 'layer'])}; the gap of mean sizes, hit minus miss, is {gaps}; "
        f"with depth the sizes of hits fall {steep} steeply (p = {slope['p_holm']:.2g}, Holm over readouts and "
        f"measures); by the mean distance over levels, hits are read better at {_sure(distances, 1)} and worse at "
        f"{_sure(distances, -1)}."
    )


def _sure(rows: pd.DataFrame, sign: int) -> str:
    """List the layers where hits do significantly better (``sign`` 1) or worse (−1)."""
    return _listed(rows.loc[(rows["p_holm"] < 0.05) & (sign * (rows["auc"] - 0.5) > 0), "layer"])


def _listed(names: "pd.Series[str]") -> str:
    return ", ".join(names) or "no layer"
