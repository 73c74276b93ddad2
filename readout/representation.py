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

import numpy as np
from numpy.typing import ArrayLike, NDArray

from readout.common.checks import check_number, check_threshold, check_whole

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
    return representation_sizes(levels, feature_distances, distances, verdicts, threshold, rounding)[
        Estimator(estimator)
    ]


def representation_sizes(
    levels: Sequence[float],
    feature_distances: Sequence[float],
    distances: Sequence[float],
    verdicts: Sequence[Verdict],
    threshold: float,
    rounding: float = ROUNDING,
) -> dict[Estimator, RepresentationSize]:
    """Return the representation size by every estimator; see :func:`representation_size`."""
    check_threshold("threshold", threshold)
    check_number("rounding", rounding, low=0)
    if not len(levels) == len(feature_distances) == len(distances) == len(verdicts) or not len(levels):
        raise ValueError("levels, feature_distances, distances and verdicts need one entry per problem")
    if np.isnan(feature_distances).all():
        return {each: RepresentationSize(math.nan, each, (Flag.UNDEFINED,)) for each in Estimator}
    groups = _by_level(levels, feature_distances, distances, verdicts)
    sizes = {
        Estimator.MAX: _largest(groups),
        Estimator.CONTIGUOUS: _largest(_before_first_loss(groups)),
        Estimator.CROSSING: _crossing(groups, threshold),
    }
    return {each: _flagged(groups, size, each, threshold, rounding) for each, size in sizes.items()}


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


@dataclass(frozen=True)
class _Level:
    level: float
    feature_distance: float
    distance: float
    """Mean d_X over the draws that did not fail."""
    farthest: float
    """Largest d_X among the draws, which decides whether the level is recovered; infinite if a draw failed."""
    verdict: Verdict


def _by_level(
    levels: Sequence[float],
    feature_distances: Sequence[float],
    distances: Sequence[float],
    verdicts: Sequence[Verdict],
) -> list[_Level]:
    """Merge the draws of each level; levels ascend."""
    merged = []
    for level in sorted(set(levels)):
        rows = [row for row, value in enumerate(levels) if value == level]
        kinds = {row: Verdict(verdicts[row]) for row in rows}
        judged = [row for row, kind in kinds.items() if kind is not Verdict.FAILED]
        worst = next(
            kind
            for kind in (Verdict.UNRECOVERED, Verdict.FAILED, Verdict.NOT_CONVERGED, Verdict.RECOVERED)
            if kind in kinds.values()
        )
        merged.append(
            _Level(
                level,
                max((feature_distances[row] for row in rows if not math.isnan(feature_distances[row])), default=level),
                _mean([distances[row] for row in judged]),
                max(distances[row] if row in judged else math.inf for row in rows),
                worst,
            )
        )
    return merged


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) > 1 else next(iter(values), math.nan)  # quicker for one draw


def _largest(groups: Sequence[_Level]) -> float:
    return max((group.feature_distance for group in groups if group.verdict is Verdict.RECOVERED), default=0.0)


def _before_first_loss(groups: Sequence[_Level]) -> Sequence[_Level]:
    lost = [group.verdict is Verdict.UNRECOVERED for group in groups]
    return groups[: lost.index(True)] if True in lost else groups


def _crossing(groups: Sequence[_Level], threshold: float) -> float:
    """Interpolate the isotonic fit over recovered and unrecovered levels: the others say nothing about the feature."""
    from sklearn.isotonic import isotonic_regression

    telling = sorted(
        (group.feature_distance, group.distance)
        for group in groups
        if group.verdict in (Verdict.RECOVERED, Verdict.UNRECOVERED)
    )
    if not telling:
        return 0.0
    x = [pair[0] for pair in telling]
    fitted = isotonic_regression([pair[1] for pair in telling])
    above = np.flatnonzero(fitted >= threshold)
    if not len(above):
        return x[-1]
    first = int(above[0])
    if first == 0:
        return 0.0
    share = (threshold - fitted[first - 1]) / (fitted[first] - fitted[first - 1])
    return float(x[first - 1] + share * (x[first] - x[first - 1]))


def _flagged(
    groups: Sequence[_Level], size: float, estimator: Estimator, threshold: float, rounding: float
) -> RepresentationSize:
    margin, flags = _margin(groups, size, threshold, estimator), _flags(groups, size)
    near = (Flag.NEAR_THRESHOLD,) if margin < rounding else ()
    return RepresentationSize(size, estimator, (*flags, *near), margin)


def _margin(groups: Sequence[_Level], size: float, threshold: float, estimator: Estimator) -> float:
    """Return the distance of the nearest deciding d_X from t, as a share of t.

    A size changes if its own level is lost or a level above it is recovered. ``contiguous`` also changes if a level
    below it is lost, but ignores all beyond the first unrecovered one.
    """
    if estimator is Estimator.CROSSING:
        return math.inf
    contiguous = estimator is Estimator.CONTIGUOUS
    seen = groups[: len(_before_first_loss(groups)) + 1] if contiguous else groups
    margins = (
        abs(group.farthest / threshold - 1)
        for group in seen
        if group.feature_distance > size
        or (group.feature_distance == size and (contiguous or group.verdict is Verdict.RECOVERED))
        or (contiguous and group.verdict is Verdict.RECOVERED)
    )
    return min(margins, default=math.inf)


def _open_at(group: _Level, size: float) -> bool:
    """Tell whether a size is that of an unrecovered level, as size 0 is that of level 0."""
    return group.feature_distance == size and group.verdict is not Verdict.RECOVERED


def _flags(groups: Sequence[_Level], size: float) -> tuple[Flag, ...]:
    flags = []
    recovered = [group.feature_distance for group in groups if group.verdict is Verdict.RECOVERED]
    # levels between the size and the first one above it that is known to be lost
    above = [group.verdict for group in groups if group.feature_distance > size or _open_at(group, size)]
    gap = above[: above.index(Verdict.UNRECOVERED)] if Verdict.UNRECOVERED in above else above
    if Verdict.NOT_CONVERGED in gap:
        flags.append(Flag.RESTS_ON_NOT_CONVERGED)
    if Verdict.FAILED in gap:
        flags.append(Flag.RESTS_ON_FAILED)
    if groups[-1].verdict is Verdict.RECOVERED and size >= groups[-1].feature_distance:
        flags.append(Flag.CENSORED)
    below = [group.verdict for group in groups if group.feature_distance < size]
    if Verdict.UNRECOVERED in below:
        flags.append(Flag.NON_MONOTONE)
    if not recovered:
        flags.append(Flag.NEVER_RECOVERED)
    if groups[0].level > 0:
        flags.append(Flag.NO_CLEAN_LEVEL)
    return tuple(flags)
