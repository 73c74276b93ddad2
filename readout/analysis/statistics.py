"""Intervals, differences between groups and rank correlations, over samples; draws are nested in samples.

Everything here takes one value a sample. Several draws of a sample are not independent: reduce them with
:func:`by_sample` first.
"""

import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

from readout.common.checks import check_number, check_seed

RESAMPLES = 1999
PERMUTATIONS = 9999
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap interval."""

    value: float
    low: float
    high: float
    method: str
    """``BCa``; ``percentile`` where BCa has no answer; ``none`` where there are too few samples."""
    count: int
    """Samples, or whole clusters, that were drawn anew."""

    def __str__(self) -> str:
        if np.isnan([self.low, self.high]).any():
            return f"{self.value:.2f} (no interval)"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class GroupDifference:
    """Two independent groups compared by ranks."""

    auc: Estimate
    """Chance that a sample of the first group lies above one of the second, ties counting half."""
    rank_biserial: float
    """2 · AUC − 1: 0 for no difference, 1 where the whole first group lies above."""
    p: float
    """Two-sided Mann–Whitney U."""
    medians: tuple[float, float]
    counts: tuple[int, int]


@dataclass(frozen=True)
class PairedDifference:
    """First minus second, pair by pair."""

    mean: Estimate
    p: float
    """Two-sided sign-flip permutation test of the mean; exact, from all sign patterns, up to 13 pairs."""
    share_positive: float
    """Share of pairs whose first is the larger, ties counting half."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's ρ."""

    rho: Estimate
    p: float
    """Two-sided, under independent pairs; NaN for clustered ones, for which it would be wrong."""


def by_sample(
    table: pd.DataFrame, columns: str | Sequence[str], by: Sequence[str] = ("layer", "sample")
) -> pd.DataFrame:
    """One row a sample: the mean over its draws.

    Args:
        table: One row a (sample, draw, …).
        columns: What to average.
        by: What names a sample, with all that shall not be averaged over.
    """
    columns = [columns] if isinstance(columns, str) else list(columns)
    return table.groupby(list(by), sort=False)[columns].mean().reset_index()


def bootstrap_interval(
    values: ArrayLike, statistic: Callable[..., Any] = np.mean, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """A statistic of one group of samples, with its interval.

    Args:
        values: One value a sample; NaN are dropped.
        statistic: Takes ``(values, axis)``, as ``np.mean`` and ``np.median`` do.
        confidence: Of the interval.
        seed: Seed of the resampling.
    """
    return _estimate((_clean(values),), statistic, confidence, seed)


def group_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95, seed: int = 0) -> GroupDifference:
    """Compare two independent groups: Mann–Whitney U, with the AUC and its interval for an effect size.

    Args:
        first: One value a sample; NaN are dropped.
        second: The other group's.
        confidence: Of the interval.
        seed: Seed of the resampling.

    Raises:
        ValueError: if a group is empty.
    """
    a, b = _clean(first), _clean(second)
    if not len(a) or not len(b):
        raise ValueError("both groups need at least one value")
    auc = _estimate((a, b), _auc, confidence, seed)
    p = float(stats.mannwhitneyu(a, b).pvalue)
    return GroupDifference(auc, 2 * auc.value - 1, p, (float(np.median(a)), float(np.median(b))), (len(a), len(b)))


def auc_gain(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """How much better one score tells two groups apart than another score of the same samples: AUC minus AUC.

    Args:
        first: A score of both groups.
        second: The other score, of the same samples in the same order.
        confidence: Of the interval.
        seed: Seed of the resampling, which draws samples with both of their scores.
    """
    (a, b), (c, d) = ([np.asarray(values, dtype=np.float64) for values in score] for score in (first, second))

    def gain(above: Values, below: Values, axis: int = -1) -> Values:
        i, j = above.astype(int), below.astype(int)
        return np.asarray(_auc(a[i], b[j], axis) - _auc(c[i], d[j], axis))

    return _estimate((np.arange(len(a), dtype=float), np.arange(len(b), dtype=float)), gain, confidence, seed)


def paired_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95, seed: int = 0) -> PairedDifference:
    """Compare the same samples under two conditions, by a sign-flip permutation test of the mean difference.

    Args:
        first: One value a sample; pairs with a NaN are dropped.
        second: The same samples in the same order.
        confidence: Of the interval.
        seed: Seed of the resampling and of random sign patterns.

    Raises:
        ValueError: if the lengths differ or no pair is left.
    """
    check_seed("seed", seed)
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    differences = _clean(differences)
    if not len(differences):
        raise ValueError("there is no pair of values")
    if len(differences) == 1:  # two sign patterns, both as far from 0
        p = 1.0
    else:
        permuted = stats.permutation_test(
            (differences,),
            np.mean,
            permutation_type="samples",
            vectorized=True,
            n_resamples=PERMUTATIONS,
            rng=np.random.default_rng(seed),
        )
        p = float(permuted.pvalue)
    share = float(np.mean((differences > 0) + 0.5 * (differences == 0)))
    return PairedDifference(_estimate((differences,), np.mean, confidence, seed), p, share)


def rank_correlation(
    x: ArrayLike,
    y: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> RankCorrelation:
    """Spearman's ρ, with an interval from drawing whole samples anew.

    Args:
        x: One value a pair; pairs with a NaN are dropped.
        y: The other.
        clusters: What sample each pair belongs to, where samples give several (one a layer, say). Default: each
            pair is a sample.
        confidence: Of the interval.
        seed: Seed of the resampling.

    Returns:
        NaN where a variable is constant, and no interval below three samples.
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
    estimate = _estimate((every,), rho, confidence, seed, vectorized=False, resamples=999)
    p = float(stats.spearmanr(pairs[:, 0], pairs[:, 1]).pvalue) if clusters is None else np.nan
    return RankCorrelation(estimate, p)


def holm(p: ArrayLike) -> Values:
    """Holm's correction: p-values adjusted for their number, in the order given; NaN stay and don't count."""
    values = np.asarray(p, dtype=float)
    adjusted = np.full(values.shape, np.nan)
    tested = ~np.isnan(values)
    if tested.any():
        adjusted[tested] = multipletests(values[tested], method="holm")[1]
    return adjusted


def _clean(values: ArrayLike) -> Values:
    array = np.asarray(values, dtype=np.float64)
    kept: Values = array[~np.isnan(array)]
    return kept


def _auc(first: Values, second: Values, axis: int = -1) -> Values:
    """Mann–Whitney's U over the number of pairs."""
    first, second = np.moveaxis(first, axis, -1), np.moveaxis(second, axis, -1)
    n, m = first.shape[-1], second.shape[-1]
    ranks = stats.rankdata(np.concatenate([first, second], axis=-1), axis=-1)
    return np.asarray((ranks[..., :n].sum(axis=-1) - n * (n + 1) / 2) / (n * m))


def _estimate(
    groups: tuple[Values, ...],
    statistic: Callable[..., Any],
    confidence: float,
    seed: int,
    vectorized: bool = True,
    resamples: int = RESAMPLES,
) -> Estimate:
    """BCa, or the percentiles of the replicates that have a value."""
    check_number("confidence", confidence, above=0, below=1)
    check_seed("seed", seed)
    axis = {"axis": -1} if vectorized else {}
    count = sum(map(len, groups))
    value = float(statistic(*groups, **axis)) if all(map(len, groups)) else np.nan
    if min(map(len, groups)) < 2:
        return Estimate(value, np.nan, np.nan, "none", count)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # a constant group, or replicates without a value: answered by the fallback
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            groups,
            statistic,
            vectorized=vectorized,
            n_resamples=resamples,
            confidence_level=confidence,
            method="BCa",
            batch=500,
            rng=np.random.default_rng(seed),
            **axis,
        )
    low, high = map(float, found.confidence_interval)
    if not np.isnan([low, high]).any():
        return Estimate(value, low, high, "BCa", count)
    tail = (1 - confidence) / 2
    low, high = map(float, np.nanquantile(found.bootstrap_distribution, [tail, 1 - tail]))
    return Estimate(value, low, high, "percentile", count)
