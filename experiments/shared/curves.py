"""Sizes of results put together from several sweeps, and sizes read off any curve of d_X."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from readout.analysis.sizes import lower_bounds, sizes_table
from readout.representation import Estimator, Verdict, representation_size


def labelled_sizes(results: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """:func:`readout.analysis.sizes.sizes_table` of each group of results, with ``crossing`` for the estimator.

    Args:
        results: One row a problem.
        by: Columns that tell groups apart, kept in the table.

    Returns:
        One row a (group, layer, sample), with a column ``lower_bound`` for sizes that rest on missing evidence.
    """
    tables = []
    for _, group in results.groupby(list(by), sort=False):
        table = sizes_table(group, Estimator.CROSSING)
        for name in by:
            table[name] = group[name].iloc[0]
        tables.append(table)
    sizes = pd.concat(tables, ignore_index=True)
    return sizes.assign(lower_bound=lower_bounds(sizes))


def crossing(positions: Sequence[float], distances: Sequence[float], threshold: float) -> float:
    """Where a distance that grows with the perturbation crosses a threshold; every point tells.

    Other than a representation size from verdicts, this takes each distance as the readout's answer, converged or not.

    Args:
        positions: How far the feature was moved, e.g. its d_H.
        distances: The distance at each position.
        threshold: t, in units of the distance.

    Returns:
        The position, interpolated; 0 if already the first is lost, the last position if none is; NaN if a distance is.
    """
    if np.isnan(distances).any():
        return np.nan
    verdicts = [Verdict.RECOVERED if value < threshold else Verdict.UNRECOVERED for value in distances]
    return representation_size(positions, positions, distances, verdicts, threshold, Estimator.CROSSING).size


def crossings(points: pd.DataFrame, columns: Sequence[str], threshold: float, by: Sequence[str]) -> pd.DataFrame:
    """One row a group: the :func:`crossing` of each column over the realised d_H, draws averaged first.

    Args:
        points: One row a problem, with columns ``level`` and ``feature_distance``.
        columns: Distances.
        threshold: t, in their units.
        by: What names a group.
    """
    rows = []
    for names, group in points.groupby(list(by), sort=False):
        curve = group.groupby("level")[["feature_distance", *columns]].mean()
        sizes = {
            column: crossing(curve["feature_distance"].tolist(), curve[column].tolist(), threshold)
            for column in columns
        }
        rows.append({**dict(zip(by, names, strict=True)), **sizes})
    return pd.DataFrame(rows)


def at_discrepancy(row: "pd.Series[Any]") -> tuple[int, float]:
    """Step and d_X where a loss first reaches the loss at the true input; of the last step if it never does.

    Args:
        row: One problem, with its trajectory.
    """
    reached = np.flatnonzero(np.asarray(row["trajectory_loss"]) <= row["floor"])
    if not len(reached):
        return int(row["steps"]), float(row["distance"])
    return int(row["trajectory_step"][reached[0]]), float(row["trajectory_distance"][reached[0]])
