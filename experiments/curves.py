"""Sizes read off curves of d_X, whatever iterate, metric or perturbation they belong to."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from readout.representation import Estimator, Verdict, representation_size


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
