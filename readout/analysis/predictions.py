"""Predicted curves in figures of measured ones."""

import pandas as pd
from matplotlib.axes import Axes

from readout.analysis.plots import label


def draw_prediction(predictions: pd.DataFrame, axes: Axes) -> Axes:
    """Draw predicted d_X against level, one dashed line per layer (mean over inputs).

    Args:
        predictions: Table as returned by :func:`readout.prediction.prediction_table`.
        axes: Axes of :func:`readout.analysis.plots.recovery`, say; a layer takes the colour of the line with its name.
    """
    colors = {line.get_label(): line.get_color() for line in axes.get_lines()}
    for layer, group in predictions.groupby("layer", sort=False):
        means = group.groupby("level")["predicted_distance"].mean()
        shown = label(layer)
        name = "_" if shown in colors else f"{shown}, predicted"  # an underscore keeps a line out of the legend
        axes.plot(means.index, means.to_numpy(), "--", lw=1.2, color=colors.get(shown), label=name)
    return axes
