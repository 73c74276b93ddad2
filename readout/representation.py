"""Definitions of the paper as pure functions.

With f the network, x an input, h' a perturbed feature and x̂ = π(h') the readout's recovered input:

* recovered set: H_{x,t} = {h' | d_X(x, π(h')) < t}
* representation size: r_x = max {d_H(h', f(x)) | h' ∈ H_{x,t}}

(Onoo, Nagano & Kamitani, arXiv 2510.12228.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from readout.common.checks import check_number, check_threshold, check_whole

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]

ROUNDING = 0.2
"""Change of d_X by rounding, as a share of t: the machine, number of threads and batch size decide the last digits, and
optimising a Deep Image Prior amplifies them.

In repeats of ``vgg_dip.yaml``, 51 of 54 pairs of d_X differed by less (``docs/concepts.md`` has the numbers). A single
run does not show it, because d_X settles as the learning rate falls: its last records differ by a few per mille.
"""


class Verdict(str, Enum):
    """Conclusion from one inversion of one perturbed feature."""

    FAILED = "failed"
    """A value was not finite, or the prior died and so did its restarts."""
    RECOVERED = "recovered"
    """d_X < t: the feature still represents the input."""
    NOT_CONVERGED = "not_converged"
    """The true input explains h' better than the recovered one: nothing is known about the feature. Only readouts with
    a loss can tell."""
    UNRECOVERED = "unrecovered"
    """The recovered input explains h' at least as well as the true one, and differs from it."""

    def __str__(self) -> str:
        return self.value


class Estimator(str, Enum):
    """Rule by which a representation size follows from the verdicts over levels."""

    MAX = "max"
    """Largest realised d_H among recovered levels, as in the paper."""
    CONTIGUOUS = "contiguous"
    """Largest realised d_H among recovered levels below the first unrecovered one."""
    CROSSING = "crossing"
    """d_H at which the isotonic fit of d_X against d_H crosses the threshold."""

    def __str__(self) -> str:
        return self.value


class Flag(str, Enum):
    """Caveat about a representation size."""

    RESTS_ON_NOT_CONVERGED = "rests_on_not_converged"
    """A level between the size and the first unrecovered level above it did not converge: a lower bound."""
    RESTS_ON_FAILED = "rests_on_failed"
    """A level between the size and the first unrecovered level above it failed: a lower bound."""
    CENSORED = "censored"
    """Recovered at the highest level tested: a lower bound."""
    NON_MONOTONE = "non_monotone"
    """A level below the size was unrecovered."""
    NEVER_RECOVERED = "never_recovered"
    """No level was recovered, not even the lowest."""
    NO_CLEAN_LEVEL = "no_clean_level"
    """Level 0 was not tested, so size 0 can't be distinguished from a readout that never works."""
    NEAR_THRESHOLD = "near_threshold"
    """A deciding d_X is so near t that rounding may move it across: another machine may give another size."""
    UNDEFINED = "undefined"
    """The input's feature could not be perturbed, so its size is NaN."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class RepresentationSize:
    """A size in units of d_H, with its caveats."""

    size: float
    estimator: Estimator
    flags: tuple[Flag, ...]
    margin: float = math.inf
    """Distance between t and the nearest d_X that decides the size, as a share of t. Infinite if there is none, as for
    ``crossing``, which follows every d_X continuously."""


@dataclass(frozen=True)
class RepresentationSizes:
    """Sizes of many groups of problems, with the caveats about those by one estimator; arrays of shape (groups,)."""

    by_estimator: dict[Estimator, Values]
    flags: dict[Flag, Mask]
    """Whether a size carries the flag."""
    margin: Values
    """See :attr:`RepresentationSize.margin`."""


def verdict(
    distance: float,
    loss: float,
    floor: float,
    scale: float,
    threshold: float,
    tolerance: float = 1e-4,
    dead: bool = False,
) -> Verdict:
    """Judge one inversion.

    Args:
        distance: d_X between the true and the recovered input.
        loss: Loss of the recovered input, L(x̂); NaN for a readout without a loss, as are ``floor`` and ``scale``.
        floor: Loss of the true input, L(x); known exactly, because the noise is ours.
        scale: Loss between the clean feature and its own mean (for a squared error: Var(h)).
        threshold: t; an input is recovered if d_X < t.
        tolerance: Largest excess of L(x̂) over L(x), as a share of ``scale``, that counts as converged.
        dead: Whether the prior collapsed, and so did its restarts.

    Examples:
        >>> str(verdict(distance=0.05, loss=0.31, floor=0.3, scale=1, threshold=0.1))
        'recovered'
        >>> str(verdict(distance=0.4, loss=0.31, floor=0.3, scale=1, threshold=0.1))
        'not_converged'
        >>> str(verdict(distance=0.4, loss=0.29, floor=0.3, scale=1, threshold=0.1))
        'unrecovered'
    """
    return Verdict(verdicts(distance, loss, floor, scale, threshold, tolerance, dead).item())


def verdicts(
    distance: ArrayLike,
    loss: ArrayLike,
    floor: ArrayLike,
    scale: ArrayLike,
    threshold: float,
    tolerance: ArrayLike = 1e-4,
    dead: ArrayLike = False,
) -> NDArray[np.str_]:
    """Judge many inversions; see :func:`verdict`, whose arguments these are, one value per inversion.

    Examples:
        >>> verdicts([0.05, 0.4], 0.31, 0.3, 1, threshold=0.1).tolist()
        ['recovered', 'not_converged']
    """
    numbers = np.broadcast_arrays(*(np.asarray(each, float) for each in (distance, loss, floor, scale, tolerance)))
    distance, loss, floor, scale, tolerance = numbers
    losses = np.stack([loss, floor, scale])
    lossless = np.isnan(losses).all(0)
    failed = np.asarray(dead, bool) | ~np.isfinite(distance) | ~(lossless | np.isfinite(losses).all(0))
    if not failed.all():
        check_threshold("threshold", threshold)
        for tolerated in np.unique(tolerance[~failed]):
            check_number("tolerance", float(tolerated), 0)
    with np.errstate(invalid="ignore"):  # of losses that are not finite, which have failed
        behind = ~lossless & (loss > floor + tolerance * scale)
    kinds = [Verdict.FAILED, Verdict.RECOVERED, Verdict.NOT_CONVERGED]
    return np.select([failed, distance < threshold, behind], [kind.value for kind in kinds], Verdict.UNRECOVERED.value)


def representation_size(
    levels: Sequence[float],
    feature_distances: Sequence[float],
    distances: Sequence[float],
    verdicts: Sequence[Verdict],
    threshold: float,
    estimator: Estimator = Estimator.MAX,
    rounding: float = ROUNDING,
) -> RepresentationSize:
    """Return the representation size of one input at one layer, from one entry per problem (levels × draws × readings).

    A level is recovered if all of its draws and readings are, and unrecovered if any is. A level that failed or did not
    converge never counts as unrecovered; a size that rests on one is flagged.

    Args:
        levels: Target level of each problem.
        feature_distances: Realised d_H of each problem; NaN, if it could not be perturbed, is replaced by its level.
        distances: d_X of each problem.
        verdicts: Verdict of each problem.
        threshold: t, in units of d_X.
        estimator: Rule by which the size follows from the verdicts.
        rounding: Change of d_X by rounding, as a share of t; a smaller margin is flagged.

    Raises:
        ValueError: if there are no problems or the lengths differ.

    Examples:
        >>> levels, distances = [0.0, 0.3, 0.6, 0.9], [0.01, 0.04, 0.16, 0.5]
        >>> verdicts = ["recovered", "recovered", "unrecovered", "unrecovered"]
        >>> found = representation_size(levels, levels, distances, verdicts, threshold=0.1)
        >>> found.size, found.flags
        (0.3, ())
        >>> round(found.margin, 2)  # 0.04 and 0.16 both miss t = 0.1 by 60 %
        0.6
        >>> crossing = representation_size(levels, levels, distances, verdicts, 0.1, Estimator.CROSSING)
        >>> round(crossing.size, 2)
        0.45
    """
    estimator, group = Estimator(estimator), np.zeros(len(levels), dtype=int)
    problems = (levels, feature_distances, distances, verdicts)
    found = representation_sizes(group, *problems, [threshold], estimator, rounding)
    flags = tuple(flag for flag, carried in found.flags.items() if carried.item())
    return RepresentationSize(found.by_estimator[estimator].item(), estimator, flags, found.margin.item())


def representation_sizes(
    group: ArrayLike,
    levels: ArrayLike,
    feature_distances: ArrayLike,
    distances: ArrayLike,
    verdicts: Sequence[Verdict],
    thresholds: ArrayLike,
    estimator: Estimator = Estimator.MAX,
    rounding: float | Values = ROUNDING,
) -> RepresentationSizes:
    """Return the representation sizes of many groups of problems, one group per (input, layer).

    Args:
        group: Group of each problem, counted from 0.
        levels: Target level of each problem.
        feature_distances: Realised d_H of each problem.
        distances: d_X of each problem.
        verdicts: Verdict of each problem.
        thresholds: t of each group.
        estimator: Rule behind the flags and margins.
        rounding: See :func:`representation_size`; one value, or one per group.

    Raises:
        ValueError: if there are no problems or the lengths differ.

    Examples:
        >>> moved, missed = [0, 0.5, 0, 0.5], [0.0, 0.05, 0.0, 0.4]
        >>> verdicts = ["recovered", "recovered", "recovered", "unrecovered"]
        >>> found = representation_sizes([0, 0, 1, 1], moved, moved, missed, verdicts, [0.1, 0.1])
        >>> found.by_estimator[Estimator.MAX].tolist(), found.flags[Flag.CENSORED].tolist()
        ([0.5, 0.0], [True, False])
    """
    group, levels, thresholds = np.asarray(group), np.asarray(levels, float), np.asarray(thresholds, float)
    moved, distances = np.asarray(feature_distances, float), np.asarray(distances, float)
    if not len(group) == len(levels) == len(moved) == len(distances) == len(verdicts) or not len(group):
        raise ValueError("levels, feature_distances, distances and verdicts need one entry per problem")
    for threshold in np.unique(thresholds):
        check_threshold("threshold", float(threshold))
    for share in np.unique(rounding):
        check_number("rounding", float(share), low=0)
    curves = _merge_draws(group, levels, moved, distances, np.array([_SEVERITY[kind] for kind in verdicts]))
    recovered, lost = curves.judged(Verdict.RECOVERED), curves.judged(Verdict.UNRECOVERED)
    sizes = {
        Estimator.MAX: _largest(curves, recovered),
        Estimator.CONTIGUOUS: _largest(curves, recovered & (curves.place < curves.first_of(lost))),
        Estimator.CROSSING: _crossings(curves, recovered | lost, thresholds),
    }
    margin = _margins(curves, sizes[estimator], thresholds, estimator)
    flags = _flags(curves, sizes[estimator]) | {Flag.NEAR_THRESHOLD: margin < rounding}
    undefined = np.bincount(group, ~np.isnan(moved)) == 0
    return RepresentationSizes(
        {each: np.where(undefined, math.nan, size) for each, size in sizes.items()},
        {flag: carried & ~undefined for flag, carried in flags.items()} | {Flag.UNDEFINED: undefined},
        np.where(undefined, math.inf, margin),
    )


def noise_ratio(level: ArrayLike) -> NDArray[np.float64]:
    """Return n(c) = σ² / Var(h) = (1 − c)⁻² − 1, the variance of Gaussian noise over that of the feature.

    Args:
        level: Correlation distance c of the feature, in [0, 1).

    Examples:
        >>> noise_ratio([0, 0.5]).tolist()
        [0.0, 3.0]
    """
    return np.asarray((1 - _checked_levels(level)) ** -2 - 1)


def linear_distance(level: ArrayLike, expansion: float) -> NDArray[np.float64]:
    """Return d_X in closed form for a linear extractor with orthonormal columns and a least-squares readout.

    d_X(c) = 1 − 1 / √(1 + (d/D)·((1 − c)⁻² − 1))

    Args:
        level: Correlation distance c of the feature, in [0, 1).
        expansion: D / d, feature dimension over input dimension.

    Examples:
        >>> linear_distance([0, 0.5], expansion=1).tolist()  # without expansion, d_X equals c
        [0.0, 0.5]
    """
    check_number("expansion", expansion, above=0)
    return np.asarray(1 - 1 / np.sqrt(1 + noise_ratio(level) / expansion))


@lru_cache  # the same for all inputs at a layer
def linear_size(threshold: float, expansion: float) -> float:
    """Return the representation size of such an extractor in closed form: :func:`linear_distance` solved for c.

    r(t) = 1 − 1 / √(1 + (D/d)·((1 − t)⁻² − 1))

    Args:
        threshold: t, in units of d_X.
        expansion: D / d, feature dimension over input dimension.

    Examples:
        >>> round(linear_size(threshold=0.1, expansion=4), 2)
        0.28
    """
    check_number("threshold", threshold, above=0, below=1)
    check_number("expansion", expansion, above=0)
    return float(linear_distance(threshold, 1 / expansion))


def wiener_distance(level: ArrayLike, spectrum: ArrayLike, expansion: float) -> NDArray[np.float64]:
    """Return d_X in closed form for such an extractor, Gaussian inputs and the best linear readout (Wiener's).

    d_X(c) = 1 − √(Σ λ² / (λ + σ²) / Σ λ) with σ² = (d/D)·((1 − c)⁻² − 1)·Σ λ / d; equal variances give
    :func:`linear_distance`. It takes the correlation of expectations over inputs, so it holds up to the variation of an
    input's energy about its mean, which is large where few variances dominate.

    Args:
        level: Correlation distance c of the feature, in [0, 1).
        spectrum: Variances λ of the inputs along the eigenvectors of their covariance, one per dimension, not all 0.
        expansion: D / d, feature dimension over input dimension.

    Examples:
        >>> spectrum = 1 / np.arange(1, 401)
        >>> wiener_distance([0.3, 0.5, 0.7, 0.9], spectrum, expansion=8).round(3).tolist()
        [0.048, 0.099, 0.186, 0.414]
    """
    variances = np.asarray(spectrum, dtype=float)
    noise = variances.mean() * noise_ratio(level) / check_number("expansion", expansion, above=0)
    kept = variances**2 / (variances + noise[..., None]).clip(np.finfo(float).tiny)
    return np.asarray(1 - np.sqrt(kept.sum(-1) / variances.sum()))


def two_way_accuracy(level: ArrayLike, dimension: int) -> NDArray[np.float64]:
    """Return the probability that a moved feature correlates more with its own input's feature than with another's.

    P(c) = Φ(ρ √D / √(1 + (1 − ρ²)²)) with ρ = 1 − c, for independent features of independent Gaussian values. Both
    correlations are taken as normal, with the variances that hold for large D.

    Args:
        level: Correlation distance c of the feature, in [0, 1).
        dimension: D, dimension of the feature.

    Examples:
        >>> two_way_accuracy([0.8, 0.9, 0.95], dimension=100).round(3).tolist()
        [0.925, 0.761, 0.638]
    """
    from scipy.special import ndtr

    check_whole("dimension", dimension, 2)
    rho = 1 - _checked_levels(level)
    return np.asarray(ndtr(rho * math.sqrt(dimension) / np.sqrt(1 + (1 - rho**2) ** 2)))


def flip_probability(margin: ArrayLike, weight_norm: float, std: ArrayLike, level: ArrayLike) -> NDArray[np.float64]:
    """Return the probability that Gaussian noise in a feature flips the answer of a linear head with two classes.

    P(c) = Φ(−|m| / (σ ‖w‖)) with σ = std(h) · √((1 − c)⁻² − 1), w the difference of the two rows of weights.

    Args:
        margin: Difference m of the two outputs for the clean feature, not 0.
        weight_norm: ‖w‖.
        std: Standard deviation of the values of the clean feature.
        level: Correlation distance c of the feature, in [0, 1).

    Examples:
        >>> flip_probability(margin=2, weight_norm=1, std=1, level=[0, 0.5, 0.9]).round(3).tolist()
        [0.0, 0.124, 0.42]
    """
    from scipy.special import ndtr

    noise = np.asarray(std) * np.sqrt(noise_ratio(level)) * weight_norm
    with np.errstate(divide="ignore"):
        return np.asarray(ndtr(-np.abs(margin) / noise))


def _checked_levels(level: ArrayLike) -> NDArray[np.float64]:
    for each in np.ravel(np.asarray(level)):
        check_number("A level", each, 0, below=1)
    return np.asarray(level, dtype=float)


_SEVERITY = {
    Verdict.RECOVERED: 0,
    Verdict.NOT_CONVERGED: 1,
    Verdict.FAILED: 2,
    Verdict.UNRECOVERED: 3,
}
"""Rank of verdicts: a level has the highest of its draws."""


@dataclass(frozen=True)
class _Curves:
    """Levels of all groups with their draws merged: one entry per (group, level), both ascending."""

    group: NDArray[np.intp]
    level: Values
    feature_distance: Values
    distance: Values
    """Mean d_X over the draws that did not fail."""
    farthest: Values
    """Largest d_X among the draws, which decides whether the level is recovered; infinite if a draw failed."""
    severity: NDArray[np.intp]

    @cached_property
    def first(self) -> NDArray[np.intp]:
        """Place of the lowest level of each group."""
        return np.flatnonzero(np.diff(self.group, prepend=-1))

    def judged(self, verdict: Verdict) -> Mask:
        """Select the levels with this verdict."""
        selected: Mask = self.severity == _SEVERITY[verdict]
        return selected

    def any(self, levels: Mask) -> Mask:
        """Tell for each group whether one of its levels is selected."""
        found: Mask = np.logical_or.reduceat(levels, self.first)
        return found

    @cached_property
    def place(self) -> NDArray[np.intp]:
        """Place of each level among all."""
        return np.arange(len(self.group))

    def first_of(self, levels: Mask) -> NDArray[np.intp]:
        """Return for each level the place of the first one selected in its group; beyond all places if none is."""
        return np.minimum.reduceat(np.where(levels, self.place, len(levels)), self.first)[self.group]


def _merge_draws(
    group: NDArray[np.intp], level: Values, moved: Values, distance: Values, severity: NDArray[np.intp]
) -> _Curves:
    order = np.lexsort((level, group))
    group, level, severity = group[order], level[order], severity[order]
    moved, distance = moved[order], distance[order]
    first = np.flatnonzero((np.diff(group, prepend=-1) != 0) | (np.diff(level, prepend=math.nan) != 0))
    known = severity != _SEVERITY[Verdict.FAILED]
    farthest_moved = np.fmax.reduceat(moved, first)
    return _Curves(
        group=group[first],
        level=level[first],
        feature_distance=np.where(np.isnan(farthest_moved), level[first], farthest_moved),
        distance=_means(distance[known], np.add.reduceat(known, first, dtype=int)),
        farthest=np.maximum.reduceat(np.where(known, distance, math.inf), first),
        severity=np.maximum.reduceat(severity, first),
    )


def _means(values: Values, counts: NDArray[np.intp]) -> Values:
    """Average consecutive runs of values; NaN for empty ones.

    Args:
        values: The runs, one after the other.
        counts: Length of each run.
    """
    means = np.full(len(counts), math.nan)
    for count in np.unique(counts[counts > 0]):  # row by row, which rounds as the mean of a run by itself
        runs = counts == count
        means[runs] = values[np.repeat(runs, counts)].reshape(-1, count).mean(axis=1)
    return means


def _largest(curves: _Curves, levels: Mask) -> Values:
    """Return the largest realised d_H of each group among the levels selected; 0 if none is."""
    largest = np.maximum.reduceat(np.where(levels, curves.feature_distance, -math.inf), curves.first)
    return np.where(np.isneginf(largest), 0.0, largest)


def _crossings(curves: _Curves, telling: Mask, thresholds: Values) -> Values:
    """Interpolate over the levels selected: the others say nothing about the feature."""
    sizes = np.zeros(len(thresholds))
    group, moved, distance = curves.group[telling], curves.feature_distance[telling], curves.distance[telling]
    order = np.lexsort((distance, moved, group))
    first = np.flatnonzero(np.diff(group, prepend=-1))  # lexsort leaves groups as they are, ascending
    for curve in np.split(order, first[1:]) if len(order) else ():
        place = group[curve[0]]
        sizes[place] = _crossing(moved[curve], distance[curve], thresholds[place])
    return sizes


def _crossing(moved: Values, distance: Values, threshold: float) -> float:
    """Return the d_H at which the isotonic fit of a curve crosses the threshold."""
    from scipy.optimize import isotonic_regression

    fitted = isotonic_regression(distance).x
    above = np.flatnonzero(fitted >= threshold)
    if not len(above):
        return float(moved[-1])
    first = above[0]
    if first == 0:
        return 0.0
    share = (threshold - fitted[first - 1]) / (fitted[first] - fitted[first - 1])
    return float(moved[first - 1] + share * (moved[first] - moved[first - 1]))


def _margins(curves: _Curves, sizes: Values, thresholds: Values, estimator: Estimator) -> Values:
    """Return the distance of the nearest deciding d_X from t, as a share of t.

    A size changes if its own level is lost or a level above it is recovered. ``contiguous`` also changes if a level
    below it is lost, but ignores all beyond the first unrecovered one.
    """
    if estimator is Estimator.CROSSING:
        return np.full(len(sizes), math.inf)
    size, moved, recovered = sizes[curves.group], curves.feature_distance, curves.judged(Verdict.RECOVERED)
    if estimator is Estimator.CONTIGUOUS:
        lost = curves.judged(Verdict.UNRECOVERED)
        decides = (curves.place <= curves.first_of(lost)) & (recovered | (moved >= size))
    else:
        decides = (moved > size) | ((moved == size) & recovered)
    margins = np.abs(curves.farthest / thresholds[curves.group] - 1)
    return np.minimum.reduceat(np.where(decides, margins, math.inf), curves.first)


def _flags(curves: _Curves, sizes: Values) -> dict[Flag, Mask]:
    size, moved, last = sizes[curves.group], curves.feature_distance, np.append(curves.first[1:], len(curves.group)) - 1
    recovered, lost = curves.judged(Verdict.RECOVERED), curves.judged(Verdict.UNRECOVERED)
    # an unrecovered level at the size is open too, as level 0 is for size 0
    above = (moved > size) | ((moved == size) & ~recovered)
    # levels between the size and the first one above it that is known to be lost
    gap = above & (curves.place < curves.first_of(above & lost))
    return {
        Flag.RESTS_ON_NOT_CONVERGED: curves.any(gap & curves.judged(Verdict.NOT_CONVERGED)),
        Flag.RESTS_ON_FAILED: curves.any(gap & curves.judged(Verdict.FAILED)),
        Flag.CENSORED: recovered[last] & (sizes >= moved[last]),
        Flag.NON_MONOTONE: curves.any((moved < size) & lost),
        Flag.NEVER_RECOVERED: ~curves.any(recovered),
        Flag.NO_CLEAN_LEVEL: curves.level[curves.first] > 0,
    }
