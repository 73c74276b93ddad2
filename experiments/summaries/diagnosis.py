"""AUROC and calibration of scores of single inputs, a figure and two sentences."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS, MARKERS, dots, error_bars, name_columns
from experiments.shared.reading import READOUTS
from experiments.shared.statistics import auc_gain, columns, group_difference, holm, interval, rank_correlation
from readout.analysis.statistics import bootstrap_interval

TARGETS = {
    "right or wrong": ("right", "wrong"),
    "usual or rotated": ("usual", "rotated"),
    "usual or noisy": ("usual", "noisy"),
    "usual or other": ("usual", "other"),
}
"""Target → groups, of which the first should score higher."""

SCORES = (*READOUTS, "recovery", "softmax", "energy")
"""Mean size over layers by each readout; minus the mean d_X of inversions over layers and levels; maximum softmax
probability; and negative energy (log-sum-exp of the logits)."""

THIRDS = ("smallest third", "middle third", "largest third")


def compare(inputs: pd.DataFrame) -> pd.DataFrame:
    """Return the AUROC of each score and its gain over maximum softmax probability, one row per (target, score).

    ``p_holm`` is corrected over targets within a score, and over targets and layers for a readout's sizes at single
    layers.
    """
    single = [column for column in inputs.columns if column.partition(" ")[0] in READOUTS and " " in column]
    rows = []
    for target in TARGETS:
        above, below = _groups(inputs, target)
        for score in (*SCORES, *single):
            found = group_difference(above[score], below[score])
            gain = auc_gain((above[score], below[score]), (above["softmax"], below["softmax"]))
            counts = {"above": len(above), "below": len(below)}
            auc = {**columns(found.auc, "auc"), **columns(gain, "gain")}
            rows.append({"target": target, "score": score, **counts, **auc, "p": found.p})
    table = pd.DataFrame(rows)
    family = table["score"].where(~table["score"].isin(single), table["score"].str.partition(" ")[0] + " by layer")
    for name in family.unique():
        table.loc[family == name, "p_holm"] = holm(table.loc[family == name, "p"])
    return table


def calibrate(inputs: pd.DataFrame) -> pd.DataFrame:
    """Return mean confidence minus accuracy of unselected images, one row per (score, third)."""
    usual = inputs[inputs["group"] == "usual"]
    gap = usual["softmax"] - usual["right"]
    rows = [{"score": "none", "third": "all", **columns(bootstrap_interval(gap), "gap")}]
    for score in SCORES:
        third = np.minimum(usual[score].rank(method="first", pct=True).to_numpy() * 3, 2.999).astype(int)
        for place, name in enumerate(THIRDS):
            rows.append({"score": score, "third": name, **columns(bootstrap_interval(gap[third == place]), "gap")})
    return pd.DataFrame(rows)


def draw(inputs: pd.DataFrame, tests: pd.DataFrame, calibration: pd.DataFrame) -> Figure:
    """Plot sizes by group for each readout, AUROC by score and calibration by thirds."""
    figure = Figure(figsize=(16, 8), layout="constrained")
    top, bottom = np.ravel(np.asarray(figure.subfigures(2, 1)))
    ours = inputs["group"].isin(["usual", "more"])
    groups = {"right": inputs["right"] & ours, "wrong": ~inputs["right"] & ours}
    groups |= {name: inputs["group"] == name for name in ("rotated", "noisy", "other")}
    for axes, readout in zip(top.subplots(1, len(READOUTS), sharey=True), READOUTS, strict=True):
        for place, (name, color) in enumerate(zip(groups, COLORS, strict=False)):
            dots(axes, place, inputs.loc[groups[name], readout], color, width=0.5)
        name_columns(axes, list(groups))
        axes.set_title(readout)
    top.axes[0].set_ylabel("representation size, mean over layers")
    aurocs, thirds = bottom.subplots(1, 2, width_ratios=(1.5, 1))
    for place, (score, marker) in enumerate(zip(SCORES, MARKERS, strict=False)):
        group = tests[tests["score"] == score]
        where = np.arange(len(group)) + 0.09 * (place - (len(SCORES) - 1) / 2)
        error = error_bars(group, "auc")
        aurocs.errorbar(where, group["auc"], error, fmt=marker, ms=5, color=COLORS[place], lw=1, label=score)
    aurocs.axhline(0.5, color="grey", lw=1, ls=":")
    name_columns(aurocs, list(TARGETS))
    aurocs.set(ylabel="AUROC", ylim=(0, 1.02))
    aurocs.legend(frameon=False, fontsize=8, ncols=2, loc="lower left")
    _draw_calibration(thirds, calibration)
    return figure


def _draw_calibration(axes: Axes, calibration: pd.DataFrame) -> None:
    for place, score in enumerate(SCORES):
        group = calibration[calibration["score"] == score]
        error = error_bars(group, "gap")
        where = np.arange(3) + 0.08 * (place - (len(SCORES) - 1) / 2)
        axes.errorbar(where, group["gap"], error, fmt=f"{MARKERS[place]}-", color=COLORS[place], label=score)
    axes.axhline(0, color="grey", lw=1, ls=":")
    name_columns(axes, THIRDS)
    axes.set(ylabel="mean confidence − accuracy", xlabel="test images by score")
    axes.legend(frameon=False, fontsize=8)


def conclude(inputs: pd.DataFrame, tests: pd.DataFrame, calibration: pd.DataFrame) -> tuple[str, ...]:
    """State the result in one sentence per target, and one on confidence."""
    return (*[_tell(target, tests[tests["target"] == target]) for target in TARGETS], _trust(inputs, calibration))


def _tell(target: str, tests: pd.DataFrame) -> str:
    rows = {str(row["score"]): row for _, row in tests.iterrows()}
    listed = [f"{score} {rows[score]['auc']:.2f}{_against(rows[score])}" for score in READOUTS]
    best = max((row for score, row in rows.items() if " " in score), key=lambda row: float(row["auc"]))
    softmax = rows["softmax"]
    return (
        f"{target.capitalize()} ({softmax['above']} and {softmax['below']}): the AUROC of maximum softmax probability "
        f"is {interval(softmax)}, that of energy {rows['energy']['auc']:.2f}, that of the mean size by "
        f"{', by '.join(listed)}; of all sizes at one layer, {best['score']} is best with {interval(best)}."
    )


def _against(row: "pd.Series[float]") -> str:
    """Describe a score against softmax and against chance."""
    said = ["better than softmax"] if row["gain_low"] > 0 else ["worse than softmax"] if row["gain_high"] < 0 else []
    said += ["not surely off chance"] if not row["p_holm"] < 0.05 else []
    return f" ({', '.join(said)})" if said else ""


def _trust(inputs: pd.DataFrame, calibration: pd.DataFrame) -> str:
    usual = inputs[inputs["group"] == "usual"]
    said = []
    for readout in READOUTS:
        agreement = rank_correlation(usual[readout], usual["softmax"]).rho
        gaps = calibration[calibration["score"] == readout].set_index("third")
        low, high = gaps.loc[THIRDS[0]], gaps.loc[THIRDS[2]]
        apart = low["gap_low"] > high["gap_high"] or high["gap_low"] > low["gap_high"]
        said.append(
            f"by {readout} {agreement}, with mean confidence minus accuracy of {low['gap']:+.3f} in the third of "
            f"smallest sizes and {high['gap']:+.3f} in that of largest ({'' if apart else 'not '}surely different)"
        )
    return (
        f"Among {len(usual)} images as they come, the rank correlation of size with maximum softmax probability is "
        f"{'; '.join(said)}."
    )


def _groups(inputs: pd.DataFrame, target: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    if target == "right or wrong":
        ours = inputs[inputs["group"].isin(["usual", "more"])]
        return ours[ours["right"]], ours[~ours["right"]]
    return inputs[inputs["group"] == "usual"], inputs[inputs["group"] == TARGETS[target][1]]
