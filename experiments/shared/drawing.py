"""Shared parts of figures: colours for any colour vision, and dots with their mean."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from numpy.typing import ArrayLike

from readout.analysis.statistics import bootstrap_interval

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#B8AE00")
"""Okabe and Ito's palette, distinguishable with any colour vision; yellow is darkened to show on white."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def dots(axes: Axes, place: float, values: ArrayLike, color: str, width: float = 0.3, label: str | None = None) -> None:
    """Draw one dot per sample, with the mean and its 95 % bootstrap interval beside them.

    Args:
        axes: Axes to draw on.
        place: Middle of the column on the horizontal axis.
        values: One value per sample.
        color: Colour of dots and mean.
        width: Width of the column; 0 puts all dots at ``place``, so that lines can join them.
        label: Entry in the legend.
    """
    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    if not len(array):
        return
    spread = np.random.default_rng(len(array)).uniform(-0.5, 0.25, len(array)) * width
    axes.scatter(place + spread, array, s=9, color=color, alpha=0.35, lw=0)
    mean = bootstrap_interval(array)
    error = None if np.isnan(mean.low) else [[max(0.0, mean.value - mean.low)], [max(0.0, mean.high - mean.value)]]
    axes.errorbar(
        place + 0.4 * width, mean.value, yerr=error, fmt="D", ms=5, color=color, mec="black", mew=0.7, label=label
    )


def error_bars(table: pd.DataFrame, name: str) -> "list[pd.Series[float]]":
    """Return the lengths of error bars, down and up, of an estimate with columns ``NAME_low`` and ``NAME_high``."""
    return [table[name] - table[f"{name}_low"], table[f"{name}_high"] - table[name]]


def name_columns(axes: Axes, names: Sequence[str], rotation: float = 0) -> None:
    """Name the columns at 0, 1 and so on."""
    axes.set_xticks(range(len(names)), list(names), rotation=rotation)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="x")


def plain_log(axes: Axes) -> None:
    """Make the horizontal axis logarithmic, with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
