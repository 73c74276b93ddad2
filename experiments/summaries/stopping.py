"""Sizes by stopping time from trajectories, a figure and two sentences."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.shared.curves import at_discrepancy, crossing, crossings
from experiments.shared.drawing import COLORS, plain_log
from experiments.shared.statistics import holm, rank_correlation
from readout.analysis.statistics import bootstrap_interval, paired_difference
from readout.priors.unet import UNet

CONDITION = ["rate", "filters", "max_steps"]
CURVE = [*CONDITION, "layer", "sample"]

STOPS = {
    "end": ("o", "last step"),
    "best": ("*", "best iterate of each level"),
    "discrepancy": ("v", "each level's discrepancy stop"),
}
"""Way to stop → marker and label."""

DASHES = ("-", "--", ":", "-.")


def follow(results: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return the size if all levels stop at a step, and d_X at the level nearest 0.7, per curve and recorded step.

    ``path`` is the sum of the learning rates so far, under linear decay to zero.
    """
    rows = []
    for names, group in results.groupby(CURVE, sort=False):
        curve = dict(zip(CURVE, names, strict=True))
        rate, length = group["rate"].iloc[0], group["max_steps"].iloc[0]
        courses = pd.concat({index: _course(row) for index, row in group.iterrows()}, axis=1)
        by_level = courses.T.groupby(group["level"]).mean().T
        moved = group.groupby("level")["feature_distance"].mean().tolist()
        near = min(group["level"].unique(), key=lambda level: abs(level - 0.7))
        for step, distances in zip(by_level.index.to_numpy(), by_level.to_numpy(), strict=True):
            path = rate * (step - step * (step - 1) / (2 * length))
            size = crossing(moved, distances.tolist(), threshold)
            rows.append(
                {**curve, "step": step, "path": path, "size": size, "near": near, "distance": by_level.loc[step, near]}
            )
    return pd.DataFrame(rows)


def find_stops(results: pd.DataFrame, steps: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return sizes and median steps of the ways to stop, and the generator's size, one row per curve.

    ``common`` is the single step, the same for all inputs and levels, at which the mean size of the condition and
    layer is largest; ``best`` and ``discrepancy`` choose a step for each level.
    """
    reached = [at_discrepancy(row) for _, row in results.iterrows()]
    stopped = results.assign(
        end=results["distance"],
        best=results["best_distance"],
        discrepancy=[distance for _, distance in reached],
        end_step=results["steps"],
        discrepancy_step=[step for step, _ in reached],
    )
    sizes = crossings(stopped, ["end", "best", "discrepancy"], threshold, CURVE)
    noisy = stopped[stopped["level"] > 0]  # without noise there is no reason to stop early
    medians = noisy.groupby(CURVE, sort=False)[["end_step", "best_step", "discrepancy_step"]].median().reset_index()
    sizes = sizes.merge(medians, on=CURVE)
    common = []
    for _, group in steps.groupby([*CONDITION, "layer"], sort=False):
        step = group.groupby("step")["size"].mean().idxmax()
        there = group[group["step"] == step].rename(columns={"size": "common", "step": "common_step"})
        common.append(there[[*CURVE, "common", "common_step"]])
    values = results.drop_duplicates(CURVE).set_index(CURVE)["input_dim"].rename("values").reset_index()
    sizes = sizes.merge(pd.concat(common), on=CURVE).merge(values, on=CURVE)
    weights = {name: _weights(name) for name in sizes["filters"].unique()}
    highest = results.groupby(CURVE, sort=False)["feature_distance"].max().rename("highest").reset_index()
    sizes = sizes.merge(highest, on=CURVE)
    return sizes.assign(weights_per_value=sizes["filters"].map(weights) / sizes["values"])


def _course(row: "pd.Series[Any]") -> "pd.Series[float]":
    return pd.Series(row["trajectory_distance"], index=row["trajectory_step"])


def _weights(filters: str) -> int:
    return sum(parameter.numel() for parameter in UNet(3, [int(width) for width in filters.split("-")]).parameters())


def draw(steps: pd.DataFrame, stops: pd.DataFrame, threshold: float) -> Figure:
    """Plot size against steps, cumulative learning rate and the generator's size, and d_X against steps."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    ((by_step, by_path), (by_weights, distances)) = figure.subplots(2, 2)
    reference = stops["filters"].iloc[0]
    tracks = steps[(steps["filters"] == reference) & (steps["step"] > 0)]
    rates = sorted(tracks["rate"].unique())
    layers = list(dict.fromkeys(tracks["layer"]))
    for (rate, layer, length), group in tracks.groupby(["rate", "layer", "max_steps"], sort=False):
        color, dashes = COLORS[rates.index(rate) % len(COLORS)], DASHES[layers.index(layer) % len(DASHES)]
        label = f"{layer}, rate {rate:g}, {length:,} steps"
        _courses(by_step, group, "step", "size", label, color, dashes)
        _courses(by_path, group, "path", "size", label, color, dashes)
        _courses(distances, group, "step", "distance", label, color, dashes)
        chosen = stops[(stops["filters"] == reference) & (stops["rate"] == rate) & (stops["layer"] == layer)]
        chosen = chosen[chosen["max_steps"] == length]
        for stop, (marker, _) in STOPS.items():
            x, y = chosen[f"{stop}_step"].median(), chosen[stop].mean()
            by_step.plot(x, y, marker, color=color, ms=10 if marker == "*" else 7, mec="black", mew=0.8, zorder=5)
    for marker, label in STOPS.values():
        by_step.plot([], [], marker, color="white", mec="black", ms=8, label=label)
    by_step.set(xlabel="optimisation step", ylabel="representation size, $d_H$", title="Stopped at a step")
    by_path.set(xlabel="learning rate, summed over steps", ylabel="representation size, $d_H$")
    by_path.set_title("The same, by how far the optimiser went")
    level = tracks["near"].iloc[0]
    distances.axhline(threshold, color="black", lw=1, ls="--")
    distances.set(xlabel="optimisation step", ylabel="$d_X$", title=f"Distance at level {level:g}")
    _by_weights(by_weights, stops)
    for axes in (by_step, by_path, distances, by_weights):
        plain_log(axes)
    by_step.legend(fontsize=6.5, frameon=True, framealpha=0.9, loc="lower left", bbox_to_anchor=(0, 0.02))
    by_weights.legend(fontsize=8, frameon=False)
    return figure


def conclude(stops: pd.DataFrame) -> tuple[str, str]:
    """State the result in two sentences."""
    reference = stops[stops["filters"] == stops["filters"].iloc[0]]
    conditions = [
        (f"{layer} and a rate of {rate:g} (n = {len(group)})", group)
        for (layer, rate, _), group in reference.groupby(["layer", "rate", "max_steps"], sort=False)
    ]
    tests = [paired_difference(group["best"], group["end"]) for _, group in conditions]
    parts = [
        f"at {name} it is {bootstrap_interval(group['end'])} after {int(group['max_steps'].iloc[0]):,} steps, "
        f"{bootstrap_interval(group['common'])} after {int(group['common_step'].iloc[0]):,}, "
        f"{bootstrap_interval(group['discrepancy'])} at the discrepancy stop and {bootstrap_interval(group['best'])} "
        f"at each level's best iterate ({test.mean.value:+.2f} against the end, p = {p:.2g})"
        for (name, group), test, p in zip(conditions, tests, holm([test.p for test in tests]), strict=True)
    ]
    bounds = int((reference["best"] >= reference["highest"]).sum())
    bounded = (
        f", {bounds} of {len(reference)} sizes at best iterates being those of the highest level" if bounds else ""
    )
    return (
        f"Where the same inversions are stopped, representation size changes (means, Holm-corrected{bounded}): "
        + "; ".join(parts)
        + ".",
        _other_choices(stops, reference),
    )


def _other_choices(stops: pd.DataFrame, reference: pd.DataFrame) -> str:
    """Describe the effects of the learning rate and of the generator's size."""
    by_rate = reference.groupby("rate")["common_step"].median()
    moved = ", ".join(f"{step:,.0f} at a rate of {rate:g}" for rate, step in by_rate.items())
    first = f"The number of steps that is best for all is {moved}"
    widths = stops[(stops["rate"] == stops["rate"].iloc[0]) & (stops["max_steps"] == stops["max_steps"].iloc[0])]
    by_width = widths.groupby("weights_per_value")[["end", "best"]].mean()
    if len(by_width) == 1:
        return first + "."
    trend = rank_correlation(widths["weights_per_value"], widths["end"], clusters=widths["sample"].tolist()).rho
    said = "" if np.isnan(trend.value) else f" (Spearman's ρ {trend})"
    return (
        f"{first}; and from {by_width.index[0]:.2g} to {by_width.index[-1]:.2g} weights of the generator per value of "
        f"the image, size at the end goes from {by_width['end'].iloc[0]:.2f} to {by_width['end'].iloc[-1]:.2f}{said} "
        f"and at the best iterate from {by_width['best'].iloc[0]:.2f} to {by_width['best'].iloc[-1]:.2f}."
    )


def _courses(axes: Axes, group: pd.DataFrame, x: str, y: str, label: str, color: str, dashes: str) -> None:
    """Draw a thin line per sample and a thick one for their mean."""
    for _, course in group.groupby("sample"):
        axes.plot(course[x], course[y], ls=dashes, color=color, lw=0.6, alpha=0.4)
    mean = group.groupby("step")[[x, y]].mean()
    axes.plot(mean[x], mean[y], ls=dashes, color=color, lw=2, label=label)


def _by_weights(axes: Axes, stops: pd.DataFrame) -> None:
    widths = stops[(stops["rate"] == stops["rate"].iloc[0]) & (stops["max_steps"] == stops["max_steps"].iloc[0])]
    for (stop, (marker, label)), color in zip(STOPS.items(), (COLORS[0], COLORS[1], COLORS[2]), strict=True):
        axes.scatter(widths["weights_per_value"], widths[stop], s=14, marker=marker, color=color, alpha=0.4, lw=0)
        mean = widths.groupby("weights_per_value")[stop].mean()
        axes.plot(mean.index, mean, "-", marker=marker, color=color, mec="black", mew=0.6, label=label)
    axes.set(xlabel="weights of the generator per value of the image", ylabel="representation size, $d_H$")
    axes.set_title(f"The prior's size (rate {widths['rate'].iloc[0]:g})")
