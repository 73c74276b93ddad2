"""Recovery curves: mean d_X by layer and level, with what the samples leave open."""

import pandas as pd

from readout.analysis.sizes import at_common_levels
from readout.analysis.statistics import bootstrap_interval, by_sample

COLUMNS = ("layer", "level", "feature_distance", "distance", "low", "high", "samples")


def recovery_curves(results: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """One row a (layer, level) that every input of the layer was inverted at.

    Args:
        results: One row a problem.
        confidence: Of the interval.

    Returns:
        ``layer``, ``level``, mean ``feature_distance`` (realised d_H) and ``distance`` (d_X) over samples, ``low`` and
        ``high`` of the mean d_X from drawing samples anew (NaN below two), and the number of ``samples``.
    """
    rows = []
    for layer, group in results.groupby("layer", sort=False):
        means = by_sample(at_common_levels(group), ["feature_distance", "distance"], by=("level", "sample"))
        for level, samples in means.groupby("level"):
            mean = bootstrap_interval(samples["distance"], confidence=confidence)
            moved = samples["feature_distance"].mean()
            rows.append((layer, level, moved, mean.value, mean.low, mean.high, mean.count))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def mean_trajectory(problems: pd.DataFrame) -> "pd.Series[float]":
    """Mean d_X over problems, by optimisation step.

    Args:
        problems: At least one, trajectories included.
    """
    curves = pd.concat(
        pd.Series(row["trajectory_distance"], index=row["trajectory_step"], dtype=float)
        for _, row in problems.iterrows()
    )
    return curves.groupby(level=0).mean()
