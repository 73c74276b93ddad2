"""Figure and sentences of :mod:`experiments.identifiability`."""

import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.claims import stands
from experiments.shared.drawing import COLORS, MARKERS, name_columns

REFERENCE = "as assumed"
ENOUGH = "(d + 1)"
"""Marks the case of the fewest clusters that theory allows."""
IDENTIFIED = 0.98
"""R² from which latents count as found."""
BROKEN = 0.9
"""R² below which an assumption counts as needed."""


def last(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the end of training."""
    ended: pd.DataFrame = table[table["step"] == table["step"].max()]
    return ended


def draw(table: pd.DataFrame) -> Figure:
    """Plot R² along training, and at its end beside that of the raw observations."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    curves, ends = figure.subplots(1, 2, width_ratios=(1, 1.3))
    for place, (case, own) in enumerate(table.groupby("case", sort=False)):
        mean = own.groupby("step")["r2"].mean()
        curves.plot(mean.index, mean, marker=MARKERS[place], ms=4, color=COLORS[place], label=case)
        end = last(own)
        spots = [place] * len(end)
        ends.scatter(spots, end["raw"], s=22, color="grey", marker="_", label=None if place else "raw observations")
        ends.scatter(spots, end["r2"], s=22, color=COLORS[place], label=None if place else "learnt representation")
    curves.set(xlabel="step of training", ylabel="linear R² of the latents", ylim=(0, 1.02))
    curves.legend(frameon=False, fontsize=8)
    ends.set(ylabel="linear R² of the latents", ylim=(0, 1.02), title="at the end; one dot per seed")
    name_columns(ends, [case.replace(" (", "\n(") for case in table["case"].unique()])
    ends.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def conclude(table: pd.DataFrame) -> tuple[str, ...]:
    """State whether latents are identified, and which violations break that."""
    end = last(table)
    own = end[end["case"] == REFERENCE]
    said = [
        f"That a classifier finds latents up to a linear map {stands(own['r2'] >= IDENTIFIED)}: linear R² "
        f"{_listed(own['r2'])} by seed after {own['step'].iloc[0]} steps, {_listed(own['raw'])} from raw observations, "
        f"at an accuracy of {own['accuracy'].mean():.2f}."
    ]
    for case, violated in end[end["case"] != REFERENCE].groupby("case", sort=False):
        if str(case).endswith(ENOUGH):
            claim = f"R² reaches {IDENTIFIED:g} {stands(violated['r2'] >= IDENTIFIED)}"
        else:
            claim = f"R² falls below {BROKEN:g} {stands(violated['r2'] < BROKEN)}"
        said.append(
            f"{case}: that {claim}: {_listed(violated['r2'])}, "
            f"{_listed(violated['raw'])} from raw observations, at an accuracy of {violated['accuracy'].mean():.2f}."
        )
    return tuple(said)


def _listed(values: "pd.Series[float]") -> str:
    return " and ".join(f"{value:.3f}" for value in values)
