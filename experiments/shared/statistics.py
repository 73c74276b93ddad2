"""Tests of samples: two groups by ranks, rank correlation, Holm's correction.

Draws of a sample are not independent: reduce them to one value per sample with
:func:`readout.analysis.statistics.by_sample` first.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.multitest import multipletests

from readout.analysis.statistics import Estimate, Values, bootstrap_groups, without_nan


@dataclass(frozen=True)
class GroupDifference:
    """Comparison of two independent groups by ranks."""

    auc: Estimate
    """Probability that a sample of the first group exceeds one of the second, ties counting half."""
    rank_biserial: float
    """2 · AUC − 1: 0 for no difference, 1 if the whole first group lies above."""
    p: float
    """p-value of the two-sided Mann–Whitney U test."""
    medians: tuple[float, float]
    counts: tuple[int, int]


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ."""

    rho: Estimate
    p: float
    """Two-sided p-value for independent pairs; NaN for clustered ones, where it would be wrong."""


def group_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95, seed: int = 0) -> GroupDifference:
    """Compare two independent groups by Mann–Whitney U, with the AUC and its interval as effect size.

    Args:
        first: One value per sample; NaN are dropped.
        second: The same for the other group.
        confidence: Coverage of the interval.
        seed: Seed of the resampling.

    Raises:
        ValueError: if a group is empty.
    """
    a, b = without_nan(first), without_nan(second)
    if not len(a) or not len(b):
        raise ValueError("both groups need at least one value")
    auc = bootstrap_groups((a, b), _auc, confidence, seed)
    p = float(stats.mannwhitneyu(a, b).pvalue)
    return GroupDifference(auc, 2 * auc.value - 1, p, (float(np.median(a)), float(np.median(b))), (len(a), len(b)))


def auc_gain(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Return the AUC of one score minus that of another score of the same samples.

    Args:
        first: A score of both groups.
        second: The other score, of the same samples in the same order.
        confidence: Coverage of the interval.
        seed: Seed of the resampling, which draws each sample with both of its scores.
    """
    (a, b), (c, d) = ([np.asarray(values, dtype=np.float64) for values in score] for score in (first, second))

    def gain(above: Values, below: Values, axis: int = -1) -> Values:
        i, j = above.astype(int), below.astype(int)
        return np.asarray(_auc(a[i], b[j], axis) - _auc(c[i], d[j], axis))

    # indices are resampled in place of values, so that a sample's two scores stay together
    return bootstrap_groups((np.arange(len(a), dtype=float), np.arange(len(b), dtype=float)), gain, confidence, seed)


def rank_correlation(
    x: ArrayLike,
    y: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> RankCorrelation:
    """Return Spearman's ρ, with an interval from resampling whole samples.

    Args:
        x: One value per pair; pairs with a NaN are dropped.
        y: The other value of each pair.
        clusters: Sample of each pair, if samples have several (one per layer, say). Default: each pair is a sample.
        confidence: Coverage of the interval.
        seed: Seed of the resampling.

    Returns:
        NaN if a variable is constant, and no interval below three samples.
    """
    pairs = np.stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)], axis=1)
    kept = ~np.isnan(pairs).any(axis=1)
    names = list(range(len(pairs)) if clusters is None else clusters)
    codes = pd.factorize(pd.Index(names)[kept])[0]
    pairs = pairs[kept]
    members = [np.flatnonzero(codes == code) for code in range(codes.max(initial=-1) + 1)]

    def rho(chosen: Values) -> float:
        drawn = pairs[np.concatenate([members[int(place)] for place in chosen])]
        if len(drawn) < 2 or (drawn == drawn[0]).all(axis=0).any():
            return np.nan
        return float(stats.spearmanr(drawn[:, 0], drawn[:, 1]).statistic)

    every = np.arange(len(members), dtype=float)
    if len(members) < 3 or np.isnan(rho(every)):
        value = rho(every) if len(members) else np.nan
        return RankCorrelation(Estimate(value, np.nan, np.nan, "none", len(members)), np.nan)
    estimate = bootstrap_groups((every,), rho, confidence, seed, vectorized=False, resamples=999)
    p = float(stats.spearmanr(pairs[:, 0], pairs[:, 1]).pvalue) if clusters is None else np.nan
    return RankCorrelation(estimate, p)


def columns(estimate: Estimate, name: str) -> dict[str, float]:
    """Return an estimate and its interval as columns ``name``, ``name_low`` and ``name_high`` of a table."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def interval(row: "pd.Series[float]", name: str = "auc") -> str:
    """Return an estimate and its interval in a row that has :func:`columns`, as text."""
    return f"{row[name]:.2f} ({row[f'{name}_low']:.2f} to {row[f'{name}_high']:.2f})"


def holm(p: ArrayLike) -> Values:
    """Adjust p-values for their number by Holm's method, in the given order; NaN stay and do not count."""
    values = np.asarray(p, dtype=float)
    adjusted = np.full(values.shape, np.nan)
    tested = ~np.isnan(values)
    if tested.any():
        adjusted[tested] = multipletests(values[tested], method="holm")[1]
    return adjusted


def _auc(first: Values, second: Values, axis: int = -1) -> Values:
    """Mann–Whitney's U divided by the number of pairs."""
    first, second = np.moveaxis(first, axis, -1), np.moveaxis(second, axis, -1)
    n, m = first.shape[-1], second.shape[-1]
    ranks = stats.rankdata(np.concatenate([first, second], axis=-1), axis=-1)
    return np.asarray((ranks[..., :n].sum(axis=-1) - n * (n + 1) / 2) / (n * m))
