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


def mean_trajectory(problems: pd.DataFrame, column: str = "trajectory_distance") -> "pd.Series[float]":
    """Mean over problems, by optimisation step: at every step that was recorded, and at the last.

    A problem that has arrived counts with what it arrived at, so the curve ends at the mean of what is scored; one that
    died counts as long as it lived.

    Args:
        problems: At least one, trajectories included.
        column: Which one.
    """
    problems = problems[problems["trajectory_step"].map(len) > 0]  # others never ran
    if problems.empty:
        return pd.Series(dtype=float)
    curves = [pd.Series(row[column], index=row["trajectory_step"], dtype=float) for _, row in problems.iterrows()]
    together = pd.concat(curves, axis="columns").sort_index()
    alive = ~problems["dead"].to_numpy(dtype=bool)
    together.loc[:, alive] = together.loc[:, alive].ffill()
    recorded = {step for steps in problems["trajectory_step"] for step in steps[:-1]}  # the last is when it arrived
    return together.mean(axis="columns").loc[sorted(recorded | {together.index[-1]})].dropna()
