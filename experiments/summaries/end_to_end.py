"""Figure and sentences of :mod:`experiments.end_to_end`."""

import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.claims import stands
from experiments.shared.drawing import COLORS, MARKERS, name_columns

TRUE, FITTED, LEARNT = "true features, true dictionary", "true features, fitted dictionary", "learnt features"
GOOD_MCC, GOOD_R2 = 0.99, 0.98


def last(table: pd.DataFrame) -> pd.DataFrame:
    """Return the learnt features at the end of training."""
    ended: pd.DataFrame = table[table["step"] == table["step"].max()]
    return ended


def draw(table: pd.DataFrame) -> Figure:
    """Plot R² and MCC along training, MCC over R² beside closed forms, and the MCC of every stage."""
    figure = Figure(figsize=(15, 4), layout="constrained")
    curves, points, stages = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    for place, (size, own) in enumerate(table.groupby("size", sort=False)):
        color, learnt = COLORS[place], own[own["stage"] == LEARNT]
        means = learnt.groupby("step")[["r2", "mcc"]].mean()
        curves.plot(means.index, means["r2"], ":", marker=MARKERS[place], ms=4, color=color)
        curves.plot(means.index, means["mcc"], marker=MARKERS[place], ms=4, color=color, label=size)
        learnt = learnt.sort_values("r2")
        points.plot(learnt["r2"], learnt["bound"], "-", lw=1, color=color)
        points.plot(learnt["r2"], learnt["expected"], "--", lw=1, color=color)
        points.scatter(learnt["r2"], learnt["mcc"], s=16, marker=MARKERS[place], color=color, label=size)
        end = last(own)
        values = [own.loc[own["stage"] == stage, "mcc"] for stage in (TRUE, FITTED)]
        for column, value in enumerate([*values, end["mcc"], end["probe"], end["chance"]]):
            where = [column + 0.15 * (place - 1)] * len(value)
            stages.scatter(where, value, s=18, marker=MARKERS[place], color=color)
    curves.set_xscale("symlog", linthresh=30)
    curves.set(xlabel="step of training", ylabel="MCC; dotted: R² of features", ylim=(0.5, 1.02))
    curves.legend(frameon=False, fontsize=8)
    points.set(xlabel="linear R² of learnt features", ylabel="MCC of codes", ylim=(0.5, 1.02))
    points.set_title("dashed: LASSO in closed form; solid: support known", fontsize=10)
    names = ["true features,\ntrue dictionary", "true,\nfitted", "learnt,\nfitted", "learnt,\nlinear probe"]
    stages.set(ylabel="MCC", ylim=(0, 1.02), title="at the end; one dot per seed")
    name_columns(stages, [*names, "learnt,\nrandom"])
    return figure


def conclude(table: pd.DataFrame) -> tuple[str, ...]:
    """State the MCC after each step of the chain, and whether R² bounds and predicts it."""
    learnt, end = table[table["stage"] == LEARNT], last(table)
    true, fitted = (table.loc[table["stage"] == stage, "mcc"] for stage in (TRUE, FITTED))
    trained = learnt[learnt["step"] > 0]
    errors = (trained["expected"] - trained["mcc"]).abs()
    ends = "; ".join(
        f"{size}: R² {own['r2'].mean():.3f}, MCC {own['mcc'].mean():.3f} (probe {own['probe'].mean():.3f}, random "
        f"dictionary {own['chance'].mean():.3f})"
        for size, own in end.groupby("size", sort=False)
    )
    known = [*(true >= GOOD_MCC), *(fitted >= GOOD_MCC)]
    below, beats = trained["mcc"] <= trained["bound"], end["mcc"] > end[["linear", "probe"]].max(axis=1)
    return (
        f"From true features, that the MCC is at least {GOOD_MCC:g} {stands(known)}: {true.min():.3f} at worst with "
        f"the true dictionary, {fitted.min():.3f} with the fitted one.",
        f"From learnt features, that it is so {stands(end['mcc'] >= GOOD_MCC)}; that their R² reaches {GOOD_R2:g} "
        f"{stands(end['r2'] >= GOOD_R2)}. At the end, means over seeds: {ends}.",
        f"That R² bounds the MCC, by the closed form for a known support, {stands(below)} in {below.sum()} of "
        f"{len(below)} cases; the closed form for the LASSO misses by {errors.mean():.3f} on average "
        f"and by {errors.max():.3f} at worst.",
        f"That codes beat linear readouts, a probe and √(M/N), {stands(beats)} in {beats.sum()} of {len(beats)} "
        "networks at the end of training.",
    )
