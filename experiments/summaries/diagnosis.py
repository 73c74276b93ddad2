"""AUROC and calibration of scores of single inputs, a figure and two sentences."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS, MARKERS, dots, name_columns
from experiments.shared.statistics import auc_gain, group_difference, holm, rank_correlation
from readout.analysis.statistics import Estimate, bootstrap_interval

TARGETS = {
    "right or wrong": ("right", "wrong"),
    "digit or rotated": ("digit", "rotated"),
    "digit or noisy": ("digit", "noisy"),
    "digit or letter": ("digit", "letter"),
}
"""Target → groups, of which the first should score higher."""

SCORES = ("size", "softmax", "energy", "recovery")
"""Mean size over layers; maximum softmax probability; negative energy (log-sum-exp of the logits); and minus the mean
d_X over layers and levels, which distinguishes inputs even where sizes are 0."""

THIRDS = ("smallest third", "middle third", "largest third")


def compare(inputs: pd.DataFrame) -> pd.DataFrame:
    """Return the AUROC of each score and the size's advantage over it, one row per (target, score).

    ``p_holm`` is corrected over targets within a score, and over targets and layers for the sizes at single layers.
    """
    scores = [*SCORES, *(column for column in inputs.columns if column.startswith("size_"))]
    rows = []
    for target in TARGETS:
        above, below = _groups(inputs, target)
        for score in scores:
            found = group_difference(above[score], below[score])
            gain = auc_gain((above["size"], below["size"]), (above[score], below[score]))
            rows.append(
                {
                    **{"target": target, "score": score, "above": len(above), "below": len(below)},
                    **_named(found.auc, "auc"),
                    **_named(gain, "size_gain"),
                    "p": found.p,
                }
            )
    table = pd.DataFrame(rows)
    family = table["score"].where(~table["score"].str.startswith("size_"), "a layer's")
    for name in family.unique():
        table.loc[family == name, "p_holm"] = holm(table.loc[family == name, "p"])
    return table


def calibrate(inputs: pd.DataFrame) -> pd.DataFrame:
    """Return mean confidence minus accuracy of unselected digits, one row per (score, third)."""
    digits = inputs[inputs["group"] == "digit"]
    gap = digits["softmax"] - digits["right"]
    rows = [{"score": "all digits", "third": "all", **_named(bootstrap_interval(gap), "gap")}]
    for score in SCORES:
        third = np.minimum(digits[score].rank(method="first", pct=True).to_numpy() * 3, 2.999).astype(int)
        for place, name in enumerate(THIRDS):
            rows.append({"score": score, "third": name, **_named(bootstrap_interval(gap[third == place]), "gap")})
    return pd.DataFrame(rows)


def draw(inputs: pd.DataFrame, tests: pd.DataFrame, calibration: pd.DataFrame) -> Figure:
    """Plot sizes by group, AUROC by score and calibration by thirds."""
    figure = Figure(figsize=(16, 4.2), layout="constrained")
    sizes, aurocs, thirds = figure.subplots(1, 3, width_ratios=(1, 1.5, 1))
    groups = {"right": inputs["right"] & inputs["group"].isin(["digit", "more"])}
    groups["wrong"] = ~inputs["right"] & inputs["group"].isin(["digit", "more"])
    groups |= {name: inputs["group"] == name for name in ("rotated", "noisy", "letter")}
    for place, (name, color) in enumerate(zip(groups, COLORS, strict=False)):
        dots(sizes, place, inputs.loc[groups[name], "size"], color, width=0.5)
    name_columns(sizes, list(groups))
    sizes.set(ylabel="representation size, mean over layers")
    scores = list(tests["score"].unique())
    for place, (score, marker) in enumerate(zip(scores, MARKERS, strict=False)):
        group = tests[tests["score"] == score]
        where = np.arange(len(group)) + 0.09 * (place - (len(scores) - 1) / 2)
        error = [group["auc"] - group["auc_low"], group["auc_high"] - group["auc"]]
        label = score.replace("size_", "size at ")
        aurocs.errorbar(where, group["auc"], error, fmt=marker, ms=5, color=COLORS[place], lw=1, label=label)
    aurocs.axhline(0.5, color="grey", lw=1, ls=":")
    name_columns(aurocs, list(TARGETS))
    aurocs.set(ylabel="AUROC", ylim=(0, 1.02))
    aurocs.legend(frameon=False, fontsize=8, ncols=2, loc="lower left")
    _draw_calibration(thirds, calibration)
    return figure


def _draw_calibration(axes: Axes, calibration: pd.DataFrame) -> None:
    for place, score in enumerate(SCORES):
        group = calibration[calibration["score"] == score]
        error = [group["gap"] - group["gap_low"], group["gap_high"] - group["gap"]]
        where = np.arange(3) + 0.1 * (place - 1.5)
        axes.errorbar(where, group["gap"], error, fmt=f"{MARKERS[place]}-", color=COLORS[place], label=score)
    axes.axhline(0, color="grey", lw=1, ls=":")
    name_columns(axes, THIRDS)
    axes.set(ylabel="mean confidence − accuracy", xlabel="test digits by score")
    axes.legend(frameon=False, fontsize=8)


def conclude(inputs: pd.DataFrame, tests: pd.DataFrame, calibration: pd.DataFrame) -> tuple[str, str]:
    """State the result in two sentences."""
    parts = []
    for target in TARGETS:
        found = tests[tests["target"] == target].set_index("score")
        size, softmax = found.loc["size"], found.loc["softmax"]
        sure = "" if size["p_holm"] < 0.05 else ", not surely off chance"
        low, high = softmax["size_gain_low"], softmax["size_gain_high"]
        verb = "better than" if low > 0 else "worse than" if high < 0 else "not surely other than"
        parts.append(
            f"{target} with an AUROC of {size['auc']:.2f} ({size['auc_low']:.2f} to {size['auc_high']:.2f}{sure}), "
            f"{verb} maximum softmax probability ({softmax['auc']:.2f})"
        )
    digits = inputs[inputs["group"] == "digit"]
    agreement = rank_correlation(digits["size"], digits["softmax"]).rho
    gaps = calibration[calibration["score"] == "size"].set_index("third")
    low, high = gaps.loc[THIRDS[0]], gaps.loc[THIRDS[2]]
    apart = low["gap_low"] > high["gap_high"] or high["gap_low"] > low["gap_high"]
    return (
        f"An input's representation size, averaged over layers and taken as larger for the first group, tells "
        f"{'; '.join(parts)}.",
        f"Among {len(digits)} digits as they come the rank correlation of size with maximum softmax probability is "
        f"{agreement}; mean confidence exceeds accuracy by {low['gap']:+.3f} ({low['gap_low']:+.3f} to "
        f"{low['gap_high']:+.3f}) in the third of smallest sizes and by {high['gap']:+.3f} ({high['gap_low']:+.3f} to "
        f"{high['gap_high']:+.3f}) in that of largest, so size {'tells' if apart else 'does not surely tell'} where "
        f"confidence is deserved.",
    )


def _groups(inputs: pd.DataFrame, target: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    if target == "right or wrong":
        ours = inputs[inputs["group"].isin(["digit", "more"])]
        return ours[ours["right"]], ours[~ours["right"]]
    return inputs[inputs["group"] == "digit"], inputs[inputs["group"] == TARGETS[target][1]]


def _named(estimate: Estimate, name: str) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
