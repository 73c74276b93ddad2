"""Sizes of combined results from several sweeps, and crossings of any curve of d_X."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from readout.analysis.sizes import lower_bounds, sizes_table
from readout.representation import Estimator, Verdict, representation_size


def labelled_sizes(results: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return :func:`readout.analysis.sizes.sizes_table` of each group of results, by the estimator ``crossing``.

    Args:
        results: One row per problem.
        by: Columns that define groups, kept in the table.

    Returns:
        One row per (group, layer, sample), with a column ``lower_bound`` for sizes with missing evidence.
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
    """Return the position at which a distance that grows with the perturbation crosses a threshold.

    Unlike a representation size from verdicts, this uses every distance, converged or not.

    Args:
        positions: How far the feature was moved, such as its d_H.
        distances: Distance at each position.
        threshold: t, in units of the distance.

    Returns:
        The interpolated position; 0 if the first distance is above the threshold, the last position if none is; NaN if
        any distance is NaN.
    """
    if np.isnan(distances).any():
        return np.nan
    verdicts = [Verdict.RECOVERED if value < threshold else Verdict.UNRECOVERED for value in distances]
    return representation_size(positions, positions, distances, verdicts, threshold, Estimator.CROSSING).size


def crossings(points: pd.DataFrame, columns: Sequence[str], threshold: float, by: Sequence[str]) -> pd.DataFrame:
    """Return the :func:`crossing` of each column over the realised d_H, one row per group, averaged over draws first.

    Args:
        points: One row per problem, with columns ``level`` and ``feature_distance``.
        columns: Columns of distances.
        threshold: t, in units of the distances.
        by: Columns that define groups.
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
    """Return step and d_X where the loss first reaches that at the true input; those of the last step if it never does.

    Args:
        row: A problem with its trajectory.
    """
    reached = np.flatnonzero(np.asarray(row["trajectory_loss"]) <= row["floor"])
    if not len(reached):
        return int(row["steps"]), float(row["distance"])
    return int(row["trajectory_step"][reached[0]]), float(row["trajectory_distance"][reached[0]])
