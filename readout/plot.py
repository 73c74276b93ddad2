"""Figures for notebooks and scripts; every function returns matplotlib axes.

Each draws a figure of the report from a result of :func:`readout.measurement.measure`, or from the table of
:func:`readout.load_results`.

Examples:
    >>> import torch
    >>> from readout import measure
    >>> from readout.extractors import OrthonormalLinear
    >>> from readout.priors import Pixels
    >>> images, fast = torch.rand(1, 3, 16, 16), {"steps": 2, "batch_size": 3, "progress": False}
    >>> measured = measure(OrthonormalLinear(), images, levels=[0, 0.2, 0.5], prior=Pixels(), **fast)
    >>> recovery(measured).get_xlabel()
    'perturbation of the feature, $d_H$'
    >>> size_by_layer(measured.problems).get_ylabel()
    'representation size, $d_H$'
    >>> longer = measure(OrthonormalLinear(), images, levels=[0, 0.2, 0.5], prior=Pixels(), **fast | {"steps": 4})
    >>> frontier({"two steps": measured, "four steps": longer}).get_legend_handles_labels()[1]
    ['frontier', 'linear network', 'two steps', 'four steps']
    >>> (panel,) = size_by_direction({("pixels", "isotropic"): measured, ("pixels", "again"): longer})
    >>> [label.get_text() for label in panel.get_yticklabels()]
    ['isotropic', 'again']
    >>> [axes.get_title() for axes in trajectories(measured)]
    ['linear']
    >>> [axes.get_title() for axes in recovered_images(measured)]
    ['true', 'level 0', 'level 0.2', 'level 0.5']
    >>> plt.close("all")
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from readout.analysis import plots
from readout.analysis.frontier import by_layer, with_frontier
from readout.analysis.sizes import sizes_table
from readout.common.errors import ReadoutError
from readout.measurement import Measurement

Results = Measurement | pd.DataFrame


def recovery(results: Results, axes: Axes | None = None) -> Axes:
    """Plot d_X against d_H: :func:`readout.analysis.plots.recovery`, on a new pyplot figure if ``axes`` is None."""
    return plots.recovery(_problems(results), axes or _new(6.4, 4.4))


def size_by_layer(results: Results, axes: Axes | None = None) -> Axes:
    """Plot sizes by layer, from problems or sizes: :func:`readout.analysis.plots.size_by_layer`."""
    return plots.size_by_layer(_sizes(results), axes or _new(6.4, 4.0))


def frontier(results: Mapping[str, Results], axes: Axes | None = None) -> Axes:
    """Plot sizes by layer and readout, over the largest of them: :func:`readout.analysis.plots.frontier`.

    Args:
        results: Problems or sizes of the same inputs and layers by several readouts, under the names to show.
        axes: Axes to draw on; None for a new figure.

    Raises:
        ReadoutError: if no two readouts can be compared.
    """
    tables = [_sizes(each).assign(name=name) for name, each in results.items()]
    compared = by_layer(with_frontier(pd.concat(tables, ignore_index=True))) if tables else []
    if not any(one.compete for one in compared):
        raise ReadoutError(
            "No two of these readouts read the same signal of the same input at the same layer of the same network, by "
            "the same metric and threshold; give results that agree in these."
        )
    return plots.frontier(compared, axes or _new(6.4, 4.0))


def size_by_direction(
    results: Mapping[tuple[str, str], Results], sample: str | None = None, axes: Sequence[Axes] | None = None
) -> Sequence[Axes]:
    """Plot sizes by direction, layer and readout: :func:`readout.analysis.plots.size_by_direction`.

    Args:
        results: Problems or sizes by readout and direction, both under the names to show.
        sample: Name of one input; None for medians over all.
        axes: One per layer; None for a new figure.

    Raises:
        ReadoutError: if there are no results of this input.
    """
    tables = [_sizes(each).assign(name=name, perturbation=moved) for (name, moved), each in results.items()]
    sizes = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"sample": []})
    sizes = sizes if sample is None else sizes[sizes["sample"] == sample]
    if sizes.empty:
        raise ReadoutError(f"There are no results{f' of {sample!r}' if sample else ''} to plot.")
    if axes is None:
        axes = plots.panels(sizes["layer"].nunique(), plt.figure(layout="constrained"))
    return plots.size_by_direction(sizes, axes)


def trajectories(results: Results, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Plot d_X against optimisation step: :func:`readout.analysis.plots.trajectories`.

    Raises:
        ReadoutError: if a table was loaded without ``trajectories=True``, or the readout takes no steps.
    """
    problems = _problems(results)
    if "trajectory_step" not in problems:
        raise ReadoutError("This table holds no trajectories; load it with load_results(folder, trajectories=True).")
    if not problems["trajectory_step"].map(len).any():
        raise ReadoutError("A readout in one pass has no trajectories; plot its recovery instead.")
    count = problems["layer"].nunique()
    if axes is None:
        axes = plots.panels(count, plt.figure(layout="constrained"))
    return plots.trajectories(problems, axes)


def recovered_images(measured: Measurement, samples: Sequence[str] | None = None) -> Sequence[Axes]:
    """Show true and recovered images: :func:`readout.analysis.plots.recovered_images`.

    Args:
        measured: Result of :func:`readout.measurement.measure`.
        samples: Names of images; None for the first four.

    Returns:
        Axes, row by row.

    Raises:
        ReadoutError: if no image has such a name.
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


def _sizes(results: Results) -> pd.DataFrame:
    table = results.sizes if isinstance(results, Measurement) else results
    return table if "representation_size" in table else sizes_table(table)


def _new(width: float, height: float) -> Axes:
    """Make axes in a pyplot figure, which notebooks show without being asked."""
    axes: Axes = plt.figure(figsize=(width, height), layout="constrained").subplots()
    return axes
