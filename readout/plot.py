"""Figures in notebooks and scripts: ``readout.plot.recovery(measured)``; every function returns matplotlib axes.

Each takes what :func:`readout.measurement.measure` or :func:`readout.load_results` gives, and draws what the report
shows.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from readout.analysis import plots
from readout.analysis.sizes import sizes_table
from readout.common.errors import ReadoutError
from readout.measurement import Measurement

Results = Measurement | pd.DataFrame


def recovery(results: Results, axes: Axes | None = None) -> Axes:
    """See :func:`readout.analysis.plots.recovery`; on the current axes of a new pyplot figure if None is given."""
    return plots.recovery(_problems(results), axes or _new(6.4, 4.4))


def size_by_layer(results: Results, axes: Axes | None = None) -> Axes:
    """See :func:`readout.analysis.plots.size_by_layer`; takes a table of problems, or of sizes."""
    table = results.sizes if isinstance(results, Measurement) else results
    sizes = table if "representation_size" in table else sizes_table(table)
    return plots.size_by_layer(sizes, axes or _new(6.4, 4.0))


def trajectories(results: Results, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """See :func:`readout.analysis.plots.trajectories`.

    Raises:
        ReadoutError: if a table was not loaded with ``trajectories=True``.
    """
    problems = _problems(results)
    if "trajectory_step" not in problems:
        raise ReadoutError("This table holds no trajectories; load it with load_results(folder, trajectories=True).")
    count = problems["layer"].nunique()
    if axes is None:
        axes = plots.panels(count, plt.figure(layout="constrained"))
    return plots.trajectories(problems, axes)


def recovered_images(measured: Measurement, samples: Sequence[str] | None = None) -> Sequence[Axes]:
    """See :func:`readout.analysis.plots.recovered_images`.

    Args:
        measured: What :func:`readout.measurement.measure` gave.
        samples: Names of images; the first four if None.

    Returns:
        Axes, row by row.

    Raises:
        ReadoutError: if there is no image of such a name.
    """
    chosen = list(measured.inputs)[:4] if samples is None else list(samples)
    for name in chosen:
        if name not in measured.inputs:
            raise ReadoutError(f"No image is called {name!r}; there are {', '.join(measured.inputs)}.")
    pictured = plots.pictured(measured.problems, chosen)
    figure = plots.recovered_images(pictured, measured.inputs, measured.recovered, plt.figure(layout="constrained"))
    return list(np.asarray(figure.axes))


def _problems(results: Results) -> pd.DataFrame:
    return results.problems if isinstance(results, Measurement) else results


def _new(width: float, height: float) -> Axes:
    """Axes that notebooks show by themselves."""
    axes: Axes = plt.figure(figsize=(width, height), layout="constrained").subplots()
    return axes
