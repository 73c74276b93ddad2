"""What :mod:`experiments.stopping` shows and says."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS, plain_log
from readout.analysis.statistics import bootstrap_interval, holm, paired_difference, rank_correlation

STOPS = {
    "end": ("o", "last step"),
    "best": ("*", "best iterate of each level"),
    "discrepancy": ("v", "each level's discrepancy stop"),
}
"""Way to stop → marker and label."""

DASHES = ("-", "--", ":", "-.")


def draw(steps: pd.DataFrame, stops: pd.DataFrame, threshold: float) -> Figure:
    """Size against steps, against the learning rate summed up, and against the generator's size; d_X against steps."""
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
    by_step.legend(fontsize=7, frameon=False)
    by_weights.legend(fontsize=8, frameon=False)
    return figure


def conclude(stops: pd.DataFrame) -> tuple[str, str]:
    """Two sentences, written from the numbers."""
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
    """What the learning rate and the generator's size do."""
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
    """Every sample a thin line, their mean a thick one."""
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
