"""Bootstrap intervals and paired differences, over samples.

Draws of a sample are not independent: reduce them to one value per sample with :func:`by_sample` first.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from readout.common.checks import check_number, check_seed

RESAMPLES = 1999
PERMUTATIONS = 9999

NORMAL_FROM = 1000
"""Number of samples from which the interval of a mean is a normal one. Its ends differ from the bootstrap's by a few
hundredths of its width, about the error of 1,999 resamples, which would take long."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap interval."""

    value: float
    low: float
    high: float
    method: str
    """``BCa``; ``percentile`` if BCa is undefined; ``normal`` for the mean of many samples; ``none`` for too few."""
    count: int
    """Number of units resampled: samples, or whole clusters."""

    def __str__(self) -> str:
        if np.isnan([self.low, self.high]).any():
            return f"{self.value:.2f} (no interval)"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class PairedDifference:
    """First minus second value of each pair."""

    mean: Estimate
    p: float
    """p-value of the two-sided sign-flip permutation test of the mean; exact up to 13 pairs."""
    share_positive: float
    """Share of pairs whose first value is the larger, ties counting half."""


def by_sample(
    table: pd.DataFrame, columns: str | Sequence[str], by: Sequence[str] = ("layer", "sample")
) -> pd.DataFrame:
    """Average the draws of each sample, which leaves one row per sample.

    Args:
        table: One row per (sample, draw, …).
        columns: Columns to average.
        by: Columns that identify a sample, with all others that are not to be averaged over.

    Examples:
        >>> draws = pd.DataFrame({"layer": "fc", "sample": ["a", "a", "b"], "distance": [0.1, 0.3, 0.5]})
        >>> by_sample(draws, "distance")
          layer sample  distance
        0    fc      a       0.2
        1    fc      b       0.5
    """
    columns = [columns] if isinstance(columns, str) else list(columns)
    return table.groupby(list(by), sort=False)[columns].mean().reset_index()


def bootstrap_interval(
    values: ArrayLike, statistic: Callable[..., Any] = np.mean, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Return a statistic of one group of samples, with its interval; see :data:`NORMAL_FROM` for the mean of many.

    Args:
        values: One value per sample; NaN are dropped.
        statistic: Takes ``(values, axis)``, as ``np.mean`` and ``np.median`` do.
        confidence: Coverage of the interval.
        seed: Seed of the resampling.

    Examples:
        >>> print(bootstrap_interval([0.2, 0.3, 0.4, 0.5, 0.6]))
        0.40 (0.28 to 0.52)
    """
    known = without_nan(values)
    if statistic is np.mean and len(known) >= NORMAL_FROM:
        mean, error = float(known.mean()), float(stats.sem(known))
        reach = float(stats.norm.ppf((1 + check_number("confidence", confidence, above=0, below=1)) / 2)) * error
        return Estimate(mean, mean - reach, mean + reach, "normal", len(known))
    return bootstrap_groups((known,), statistic, confidence, seed)


def paired_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95, seed: int = 0) -> PairedDifference:
    """Compare the same samples under two conditions by a sign-flip permutation test of the mean difference.

    Args:
        first: One value per sample; pairs with a NaN are dropped.
        second: Values of the same samples in the same order.
        confidence: Coverage of the interval.
        seed: Seed of the resampling and of random sign patterns.

    Raises:
        ValueError: if the lengths differ or no pair is left.

    Examples:
        >>> found = paired_difference([0.5, 0.6, 0.8], [0.4, 0.3, 0.6])
        >>> round(found.mean.value, 3), found.p  # 2 of 8 sign patterns lie as far from 0
        (0.2, 0.25)
    """
    check_seed("seed", seed)
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    differences = without_nan(differences)
    if not len(differences):
        raise ValueError("there is no pair of values")
    if len(differences) == 1:  # scipy wants two: of two sign patterns, both lie as far from 0
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
    return PairedDifference(bootstrap_groups((differences,), np.mean, confidence, seed), p, share)


def median(values: ArrayLike) -> float:
    """Return the median of the values that are defined; NaN, without pandas 2's warning, if there are none."""
    known = without_nan(values)
    return float(np.median(known)) if len(known) else math.nan


def without_nan(values: ArrayLike) -> Values:
    """Return the values that are numbers, as a float64 array."""
    array = np.asarray(values, dtype=np.float64)
    kept: Values = array[~np.isnan(array)]
    return kept


def bootstrap_groups(
    groups: tuple[Values, ...],
    statistic: Callable[..., Any],
    confidence: float,
    seed: int,
    vectorized: bool = True,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Return a statistic of several groups, each resampled by itself, with its interval.

    BCa has no interval for a constant group, or if a replicate has no value; the percentiles of the replicates that
    have one stand in, and ``method`` says so.

    Args:
        groups: One array per group, one value per sample, without NaN.
        statistic: Takes all groups, and ``axis`` if vectorised.
        confidence: Coverage of the interval.
        seed: Seed of the resampling.
        vectorized: Whether ``statistic`` takes arrays of replicates.
        resamples: Number of replicates.
    """
    check_number("confidence", confidence, above=0, below=1)
    check_seed("seed", seed)
    axis = {"axis": -1} if vectorized else {}
    count = sum(map(len, groups))
    value = float(statistic(*groups, **axis)) if all(map(len, groups)) else np.nan
    if min(map(len, groups)) < 2:
        return Estimate(value, np.nan, np.nan, "none", count)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # scipy warns where BCa is undefined
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
