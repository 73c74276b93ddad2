"""Recovery curves (mean d_X by layer and level, with intervals) and mean trajectories."""

import numpy as np
import pandas as pd

from readout.analysis.sizes import at_common_levels
from readout.analysis.statistics import bootstrap_interval, by_sample

COLUMNS = ("layer", "level", "feature_distance", "distance", "low", "high", "samples")


def recovery_curves(results: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Average d_X over samples, by layer and by level at which every input of the layer was inverted.

    Args:
        results: One row per problem.
        confidence: Coverage of the interval.

    Returns:
        One row per (layer, level): ``layer``, ``level``, mean ``feature_distance`` (realised d_H) and ``distance``
        (d_X), interval ``low`` to ``high`` of the mean d_X (NaN below two samples), number of ``samples``.

    Examples:
        >>> rows = {"layer": "fc", "sample": ["a", "a", "b", "b"], "level": [0.0, 0.5, 0.0, 0.5]}
        >>> problems = pd.DataFrame(rows | {"feature_distance": [0.0, 0.48, 0.0, 0.52], "distance": [0, 0.1, 0, 0.3]})
        >>> recovery_curves(problems)[["level", "feature_distance", "distance", "samples"]]
           level  feature_distance  distance  samples
        0    0.0               0.0       0.0        2
        1    0.5               0.5       0.2        2
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
    """Average trajectories over problems, at every recorded step and the last one.

    A problem that finished early keeps its last value, so the curve ends at the mean of the scored values; one that
    died counts until then.

    Args:
        problems: One row per problem, trajectories included.
        column: Column of the trajectory.
    """
    problems = problems[problems["trajectory_step"].map(len) > 0]  # problems that never ran have none
    if problems.empty:
        return pd.Series(dtype=float)
    lengths = problems["trajectory_step"].map(len).to_numpy()
    recorded = np.concatenate(problems["trajectory_step"].tolist())
    steps, column_of = np.unique(recorded, return_inverse=True)
    values = np.full((len(problems), len(steps)), np.nan)
    values[np.repeat(np.arange(len(problems)), lengths), column_of] = np.concatenate(problems[column].tolist())
    together, alive = pd.DataFrame(values, columns=steps), ~problems["dead"].to_numpy(dtype=bool)
    together.loc[alive] = together.loc[alive].ffill(axis="columns")
    # the last step of a problem is that of its end, which differs between problems
    common = np.delete(recorded, lengths.cumsum() - 1)
    return together.mean()[np.union1d(common, steps[-1:])].dropna()
