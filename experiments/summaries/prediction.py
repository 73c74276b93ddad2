"""Sizes of measured and predicted curves, a summary, a figure and two sentences."""

from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.curves import crossing
from experiments.shared.statistics import rank_correlation

PAPER_STEPS = 10_000
STOPS = {"best iterate": "best_distance", "discrepancy stop": "stopped_distance", "last iterate": "distance"}
"""Way to stop → column of its d_X."""

NONLINEAR = "network as it is"
MEASURED = {**STOPS, NONLINEAR: "mode_distance"}
PREDICTED = ("predicted", "average")
"""Predictions for the input, and on average over the prior."""

PAIR = ["layer", "sample"]


def compare_sizes(points: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return predicted sizes and those measured at each stop, one row per (readout, layer, sample)."""
    rows = []
    for (readout, layer, sample), curve in points.groupby(["readout", *PAIR], sort=False):
        measured = {
            stop: crossing(curve["level"].tolist(), curve[column].tolist(), threshold)
            for stop, column in MEASURED.items()
        }
        predicted = {kind: curve[f"{kind}_size"].iloc[0] for kind in PREDICTED}
        rows.append({"readout": readout, "layer": layer, "sample": sample, **predicted, **measured})
    return pd.DataFrame(rows)


def summarise(points: pd.DataFrame, sizes: pd.DataFrame) -> pd.DataFrame:
    """Return rank correlations, errors and cost, one row per (readout, prediction, measurement).

    Intervals are over inputs. ``ratio`` is measured over predicted d_X, ``cost`` the time of a prediction over that of
    one inversion of the paper's number of steps at one level; both are medians.
    """
    rows = []
    for readout in points["readout"].unique():
        curves, pairs = points[points["readout"] == readout], sizes[sizes["readout"] == readout]
        step = (curves["seconds"] / curves["steps"]).groupby([curves["layer"], curves["sample"]], sort=False).mean()
        cost = curves.drop_duplicates(PAIR).set_index(PAIR)["predicted_seconds"] / (step * PAPER_STEPS)
        for kind, (stop, column) in product(PREDICTED, MEASURED.items()):
            predicted, measured = curves[f"{kind}_distance"], curves[column]
            if predicted.isna().any() or measured.isna().any():
                continue
            rho = rank_correlation(pairs[kind], pairs[stop], clusters=pairs["sample"].tolist()).rho
            rows.append(
                {
                    "readout": readout,
                    "prediction": kind,
                    "measurement": stop,
                    "pairs": len(pairs),
                    "size_rho": rho.value,
                    "size_rho_low": rho.low,
                    "size_rho_high": rho.high,
                    "curve_rho": rank_correlation(predicted, measured).rho.value,
                    "size_error": (pairs[kind] - pairs[stop]).abs().mean(),
                    "curve_error": (predicted - measured).abs().mean(),
                    "ratio": (measured / predicted).median(),
                    "cost": cost.median(),
                }
            )
    return pd.DataFrame(rows)


def draw(points: pd.DataFrame, sizes: pd.DataFrame) -> Figure:
    """Plot curves by layer, predicted against measured sizes, and the linearisation error; one dot per input."""
    figure = Figure(figsize=(13, 4.1), layout="constrained")
    curves, scatter, chain = figure.subplots(1, 3)
    dip = points[points["readout"] == "dip"]
    layers = list(dict.fromkeys(dip["layer"]))
    colors = {layer: f"C{place % 10}" for place, layer in enumerate(layers)}
    for layer, group in dip.groupby("layer", sort=False):
        means = group.groupby("level")[["best_distance", "predicted_distance", "average_distance"]].mean()
        curves.scatter(group["level"], group["best_distance"], s=8, color=colors[str(layer)], alpha=0.35, lw=0)
        curves.plot(means.index, means["best_distance"], "-", color=colors[str(layer)], label=str(layer))
        curves.plot(means.index, means["predicted_distance"], "--", color=colors[str(layer)])
        curves.plot(means.index, means["average_distance"], ":", color=colors[str(layer)])
    curves.set(
        xlabel="level c",
        ylabel="$d_X$",
        title="Deep Image Prior (best iterate), predicted (- -), average (···)",
        ylim=(0, 1),
    )
    curves.legend(frameon=False, fontsize=8)
    for (readout, group), marker in zip(sizes.groupby("readout", sort=False), "ox", strict=False):
        shades = [colors[layer] for layer in group["layer"]]
        scatter.scatter(group["predicted"], group["best iterate"], marker=marker, c=shades, s=24, label=str(readout))
    scatter.set(xlabel="predicted size", ylabel="measured size, best iterate", title="Sizes, every input a dot")
    chain.scatter(dip["predicted_distance"], dip["best_distance"], s=12, color="C7", label="Deep Image Prior")
    chain.scatter(
        dip["predicted_distance"], dip["mode_distance"], s=12, color="C3", label="same decoder, no linearising"
    )
    chain.set(xlabel="predicted $d_X$", ylabel="measured $d_X$", xscale="log", yscale="log", title="Where it fails")
    for axes in (scatter, chain):
        axes.axline((0.01, 0.01), (1, 1), color="grey", lw=1, ls=":")
        axes.legend(frameon=False, fontsize=8)
    return figure


def conclude(points: pd.DataFrame, summary: pd.DataFrame) -> str:
    """State the result in two sentences."""
    dip = points[points["readout"] == "dip"]
    found = summary[(summary["readout"] == "dip") & (summary["prediction"] == "predicted")].set_index("measurement")
    best, mode = found.loc["best iterate"], found.loc[NONLINEAR]
    interval = "" if np.isnan(best["size_rho_low"]) else f" ({best['size_rho_low']:.2f} to {best['size_rho_high']:.2f})"
    part = "smaller" if abs(np.log(mode["ratio"])) < abs(np.log(best["ratio"])) / 2 else "larger"
    return (
        f"Over {dip['sample'].nunique()} photographs and {dip['layer'].nunique()} layers, sizes predicted from the "
        f"Jacobian and sizes measured with a Deep Image Prior at its best iterate have a rank correlation of "
        f"{best['size_rho']:.2f}{interval}, and a prediction of the whole curve took {100 * best['cost']:.2g} % of the "
        f"time of one inversion of {PAPER_STEPS:,} steps. Measured d_X was {best['ratio']:.2f} times the predicted one "
        f"in the median, and {mode['ratio']:.2f} times when the same decoder ran on the network as it is, so linearity "
        f"makes the {part} part of the difference."
    )
