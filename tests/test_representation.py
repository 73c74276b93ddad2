import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from readout.representation import (
    Estimator,
    Flag,
    RepresentationSize,
    Verdict,
    linear_distance,
    linear_size,
    representation_size,
    representation_sizes,
    verdict,
    wiener_distance,
)

R, U, N, F = Verdict.RECOVERED, Verdict.UNRECOVERED, Verdict.NOT_CONVERGED, Verdict.FAILED
RESTS = {Flag.RESTS_ON_NOT_CONVERGED, Flag.RESTS_ON_FAILED}
THRESHOLD = 0.1
TYPICAL = {R: 0.05, U: 0.5, N: 0.5, F: math.nan}
"""A distance that goes with a verdict."""


@dataclass(frozen=True)
class Row:
    """One problem of a curve."""

    level: float
    feature_distance: float
    distance: float
    verdict: Verdict


def size_of(rows: Sequence[Row], estimator: Estimator, threshold: float = THRESHOLD) -> RepresentationSize:
    return representation_size(
        [row.level for row in rows],
        [row.feature_distance for row in rows],
        [row.distance for row in rows],
        [row.verdict for row in rows],
        threshold,
        estimator,
    )


def curve(*points: tuple[float, Verdict]) -> list[Row]:
    """Problems whose realised d_H is their level, with a distance that goes with the verdict."""
    return [Row(level, level, TYPICAL[kind], kind) for level, kind in points]


def measured(*points: tuple[float, float]) -> list[Row]:
    """Converged problems from (d_H, d_X) pairs."""
    return [Row(level, level, distance, R if distance < THRESHOLD else U) for level, distance in points]


# The verdict


@pytest.mark.parametrize("distance", [0.01, 0.5, math.nan, math.inf])
def test_a_dead_prior_has_failed_whatever_it_gives(distance: float) -> None:
    assert verdict(distance, loss=0.0, floor=1.0, scale=1.0, threshold=0.1, dead=True) is F


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["distance", "loss"])
def test_a_result_that_is_not_finite_has_failed(name: str, value: float) -> None:
    values = {"distance": 0.5, "loss": 1.0} | {name: value}
    assert verdict(values["distance"], values["loss"], floor=1.0, scale=1.0, threshold=0.1) is F


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["floor", "scale"])
def test_without_a_finite_reference_nothing_is_called_unrecovered(name: str, value: float) -> None:
    values = {"floor": 1.0, "scale": 1.0} | {name: value}
    assert verdict(0.5, 1.0, values["floor"], values["scale"], threshold=0.1) is not U


def test_recovery_is_strict() -> None:
    below = math.nextafter(0.1, 0)
    assert verdict(below, loss=1.0, floor=1.0, scale=1.0, threshold=0.1) is R
    assert verdict(0.1, loss=1.0, floor=1.0, scale=1.0, threshold=0.1) is U


def test_recovery_comes_before_convergence() -> None:
    assert verdict(0.05, loss=100.0, floor=1.0, scale=1.0, threshold=0.1) is R


def test_a_loss_above_the_loss_at_the_true_input_says_nothing_of_the_feature() -> None:
    assert verdict(0.5, loss=2.0, floor=1.0, scale=1.0, threshold=0.1) is N
    assert verdict(0.5, loss=0.5, floor=1.0, scale=1.0, threshold=0.1) is U


@pytest.mark.parametrize("scale", [0.25, 1.0, 64.0])
def test_the_tolerance_is_in_units_of_scale(scale: float) -> None:
    edge = 1.0 + 0.125 * scale
    assert verdict(0.5, edge, floor=1.0, scale=scale, threshold=0.1, tolerance=0.125) is U
    assert verdict(0.5, math.nextafter(edge, math.inf), floor=1.0, scale=scale, threshold=0.1, tolerance=0.125) is N


# Known curves


def test_max_is_the_largest_distance_recovered_and_contiguous_stops_at_the_first_loss() -> None:
    rows = curve((0, R), (0.3, R), (0.5, U), (0.7, R), (0.9, U))
    assert size_of(rows, Estimator.MAX) == RepresentationSize(0.7, Estimator.MAX, (Flag.NON_MONOTONE,), 0.5)
    assert size_of(rows, Estimator.CONTIGUOUS) == RepresentationSize(0.3, Estimator.CONTIGUOUS, (), 0.5)


@pytest.mark.parametrize("kind", [N, F])
def test_contiguous_sizes_reach_past_a_level_that_says_nothing(kind: Verdict) -> None:
    rows = curve((0, R), (0.3, kind), (0.5, R), (0.7, U), (0.9, R))
    assert size_of(rows, Estimator.CONTIGUOUS).size == 0.5


def test_sizes_are_realised_distances_and_not_target_levels() -> None:
    rows = [Row(0.0, 0.0, 0.01, R), Row(0.5, 0.47, 0.05, R), Row(0.9, 0.88, 0.5, U)]
    assert size_of(rows, Estimator.MAX).size == 0.47
    assert size_of(rows, Estimator.CONTIGUOUS).size == 0.47


def test_crossing_interpolates_to_the_threshold() -> None:
    rows = measured((0.0, 0.0), (0.5, 0.05), (0.7, 0.15), (0.9, 0.9))
    assert size_of(rows, Estimator.CROSSING).size == pytest.approx(0.6)


def test_crossing_pools_what_is_not_monotone() -> None:
    # the isotonic fit of (0.20, 0.04) is 0.12 at both
    rows = measured((0.0, 0.02), (0.2, 0.20), (0.4, 0.04), (0.6, 0.5))
    assert size_of(rows, Estimator.CROSSING).size == pytest.approx(0.2 * (0.1 - 0.02) / (0.12 - 0.02))


def test_crossing_is_0_when_the_lowest_level_is_lost_and_the_last_distance_when_none_is() -> None:
    assert size_of(measured((0.0, 0.3), (0.5, 0.4)), Estimator.CROSSING).size == 0
    assert size_of(measured((0.0, 0.01), (0.5, 0.02)), Estimator.CROSSING).size == 0.5


def test_crossing_leaves_failed_problems_out() -> None:
    rows = measured((0.0, 0.0), (0.5, 0.05), (0.7, 0.15))
    failed = [Row(0.6, 0.6, math.nan, F), Row(0.65, 0.65, 1.0, F)]
    assert size_of([*rows, *failed], Estimator.CROSSING).size == pytest.approx(0.6)
    assert size_of(failed, Estimator.CROSSING).size == 0


@pytest.mark.parametrize("distance", [math.nan, 1.0])
def test_crossing_leaves_a_failed_draw_beside_others_out(distance: float) -> None:
    rows = measured((0.0, 0.0), (0.5, 0.05), (0.7, 0.15))
    failed = Row(0.7, 0.7, distance, F)
    assert size_of([*rows, failed], Estimator.CROSSING).size == pytest.approx(0.6)


@pytest.mark.parametrize("estimator", Estimator)
def test_estimators_can_be_given_by_name(estimator: Estimator) -> None:
    by_name = representation_size([0.0, 0.5], [0.0, 0.5], [0.0, 0.2], [R, U], 0.1, Estimator(str(estimator)))
    assert by_name.estimator is estimator


@pytest.mark.parametrize("lengths", [(0, 0, 0, 0), (2, 1, 1, 1), (1, 2, 1, 1), (1, 1, 2, 1), (1, 1, 1, 2)])
def test_every_problem_needs_every_entry(lengths: tuple[int, int, int, int]) -> None:
    levels, features, distances, verdicts = lengths
    with pytest.raises(ValueError, match="one entry per problem"):
        representation_size([0.0] * levels, [0.0] * features, [0.0] * distances, [R] * verdicts, 0.1)


# Draws


@pytest.mark.parametrize("other", [U, N, F])
def test_a_level_is_recovered_only_when_all_its_draws_are(other: Verdict) -> None:
    rows = curve((0, R), (0, R), (0.5, R), (0.5, R), (0.7, R), (0.7, other))
    assert size_of(rows, Estimator.MAX).size == 0.5
    assert size_of(rows, Estimator.CONTIGUOUS).size == 0.5


@pytest.mark.parametrize("other", [R, N, F])
def test_a_level_is_lost_when_one_of_its_draws_is(other: Verdict) -> None:
    rows = curve((0, R), (0.5, other), (0.5, U), (0.7, R))
    assert size_of(rows, Estimator.CONTIGUOUS).size == 0


def test_a_recovered_level_reaches_as_far_as_its_farthest_draw() -> None:
    rows = [Row(0, 0, 0.01, R), Row(0.5, 0.48, 0.05, R), Row(0.5, 0.53, 0.06, R), Row(0.9, 0.9, 0.5, U)]
    assert size_of(rows, Estimator.MAX).size == 0.53


# Flags


@pytest.mark.parametrize(
    ("points", "flags"),
    [
        ([(0, R), (0.5, U)], ()),
        ([(0, R), (0.5, R)], (Flag.CENSORED,)),
        ([(0, R), (0.5, N), (0.9, U)], (Flag.RESTS_ON_NOT_CONVERGED,)),
        ([(0, R), (0.5, F), (0.9, U)], (Flag.RESTS_ON_FAILED,)),
        ([(0, R), (0.5, F), (0.7, N)], (Flag.RESTS_ON_NOT_CONVERGED, Flag.RESTS_ON_FAILED)),
        ([(0, R), (0.5, U), (0.9, N)], ()),
        ([(0, R), (0.3, N), (0.5, R), (0.9, U)], ()),
        ([(0, R), (0.3, U), (0.5, R), (0.9, U)], (Flag.NON_MONOTONE,)),
        ([(0, U), (0.5, U)], (Flag.NEVER_RECOVERED,)),
        ([(0, N), (0.5, U)], (Flag.RESTS_ON_NOT_CONVERGED, Flag.NEVER_RECOVERED)),
        ([(0, F), (0.5, F)], (Flag.RESTS_ON_FAILED, Flag.NEVER_RECOVERED)),
        ([(0.1, R), (0.5, U)], (Flag.NO_CLEAN_LEVEL,)),
        ([(0.1, U), (0.5, U)], (Flag.NEVER_RECOVERED, Flag.NO_CLEAN_LEVEL)),
    ],
)
def test_flags_of_the_largest_size(points: list[tuple[float, Verdict]], flags: tuple[Flag, ...]) -> None:
    assert size_of(curve(*points), Estimator.MAX).flags == flags


def test_contiguous_sizes_are_monotone_and_only_censored_at_the_top() -> None:
    rows = curve((0, R), (0.3, U), (0.5, R))
    assert size_of(rows, Estimator.CONTIGUOUS).flags == ()
    assert size_of(curve((0, R), (0.5, R)), Estimator.CONTIGUOUS).flags == (Flag.CENSORED,)


@pytest.mark.parametrize("kind", [N, F])
def test_a_contiguous_size_of_0_that_rests_on_the_clean_level_says_so(kind: Verdict) -> None:
    rows = curve((0, kind), (0.3, U), (0.5, R))
    size = size_of(rows, Estimator.CONTIGUOUS)
    assert size.size == 0
    assert RESTS & set(size.flags)


def test_a_crossing_that_a_level_without_convergence_pulled_down_says_so() -> None:
    rows = [Row(0, 0, 0.3, N), Row(0.3, 0.3, 0.05, R), Row(0.5, 0.5, 0.06, R), Row(0.7, 0.7, 0.9, U)]
    size = size_of(rows, Estimator.CROSSING)
    settled = size_of([row for row in rows if row.verdict is not N], Estimator.CROSSING)
    assert size.size == settled.size or Flag.RESTS_ON_NOT_CONVERGED in size.flags


# How far the deciding d_X lies from the threshold


@pytest.mark.parametrize(
    ("points", "largest", "contiguous"),
    [
        ([(0.0, 0.0), (0.3, 0.06), (0.5, 0.095), (0.7, 0.2)], 0.05, 0.05),  # one machine's conv3_1
        ([(0.0, 0.0), (0.3, 0.06), (0.5, 0.111), (0.7, 0.2)], 0.11, 0.11),  # and the other's
        ([(0.0, 0.0), (0.3, 0.06), (0.5, 0.111), (0.7, 0.105)], 0.05, 0.11),  # contiguous ends at the first lost one
        ([(0.0, 0.07), (0.5, 0.02)], 0.8, 0.3),  # censored: its own level can be lost, and for contiguous a lower one
        ([(0.0, 0.15), (0.5, 0.2)], 1.0, 0.5),  # level 0 is size 0, recovered or not; contiguous could then go on
        ([(0.0, 0.15)], math.inf, 0.5),
    ],
)
def test_the_margin_is_that_of_the_nearest_distance_that_decides(
    points: list[tuple[float, float]], largest: float, contiguous: float
) -> None:
    for estimator, margin in ((Estimator.MAX, largest), (Estimator.CONTIGUOUS, contiguous)):
        size = size_of(measured(*points), estimator)
        assert size.margin == pytest.approx(margin)
        assert (Flag.NEAR_THRESHOLD in size.flags) == (margin < 0.2)


def test_no_failed_level_decides_and_all_draws_of_one_must_come_below_the_threshold() -> None:
    rows = measured((0.0, 0.0), (0.3, 0.04), (0.5, 0.13), (0.5, 0.105))
    assert size_of([*rows, Row(0.3, 0.3, 0.05, R)], Estimator.MAX).margin == pytest.approx(0.3)
    assert size_of([*rows, Row(0.5, 0.5, math.nan, F)], Estimator.MAX).margin == pytest.approx(0.6)
    stuck = [Row(0.7, 0.7, 0.11, N), Row(0.9, 0.9, 0.101, F)]
    assert size_of([*rows, *stuck], Estimator.MAX).margin == pytest.approx(0.1)


def test_a_crossing_follows_every_distance_so_none_decides() -> None:
    size = size_of(measured((0.0, 0.0), (0.5, 0.099), (0.7, 0.101)), Estimator.CROSSING)
    assert size.margin == math.inf
    assert size.flags == ()


# Properties

finite = st.floats(0, 2, allow_nan=False)
grid = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])


@st.composite
def problem(draw: st.DrawFn, kinds: Sequence[Verdict] = tuple(Verdict)) -> Row:
    kind = draw(st.sampled_from(kinds))
    share = draw(st.floats(0, 1))
    distance = {R: 0.09 * share, F: math.nan}.get(kind, THRESHOLD + share)
    level = draw(grid)
    return Row(level, level * draw(st.floats(0.9, 1.1)), distance, kind)


problems = st.lists(problem(), min_size=1, max_size=15)
converged = st.lists(problem((R, U)), min_size=1, max_size=15)


@pytest.mark.parametrize("estimator", Estimator)
@budget(deadline=None)
@given(curves=st.lists(problems, min_size=1, max_size=4), data=st.data())
def test_a_group_has_the_size_that_it_has_alone(
    estimator: Estimator, curves: list[list[Row]], data: st.DataObject
) -> None:
    mixed = data.draw(st.permutations([(group, row) for group, rows in enumerate(curves) for row in rows]))
    group, rows = [group for group, _ in mixed], [row for _, row in mixed]
    thresholds = [THRESHOLD * (1 + place) for place in range(len(curves))]
    found = representation_sizes(
        group,
        [row.level for row in rows],
        [row.feature_distance for row in rows],
        [row.distance for row in rows],
        [row.verdict for row in rows],
        thresholds,
        estimator,
    )
    for place, threshold in enumerate(thresholds):
        alone = size_of([row for each, row in mixed if each == place], estimator, threshold)
        assert found.by_estimator[estimator][place] == alone.size
        assert tuple(flag for flag, carried in found.flags.items() if carried[place]) == alone.flags
        assert found.margin[place] == alone.margin


@pytest.mark.parametrize("estimator", Estimator)
@budget(deadline=None)
@given(rows=problems)
def test_no_size_exceeds_the_largest_distance_tested(estimator: Estimator, rows: list[Row]) -> None:
    assert 0 <= size_of(rows, estimator).size <= max(row.feature_distance for row in rows)


@budget(deadline=None)
@given(rows=problems)
def test_max_is_at_least_contiguous(rows: list[Row]) -> None:
    assert size_of(rows, Estimator.MAX).size >= size_of(rows, Estimator.CONTIGUOUS).size


@pytest.mark.parametrize("estimator", [Estimator.MAX, Estimator.CONTIGUOUS])
@budget(deadline=None)
@given(rows=problems, data=st.data())
def test_the_order_of_the_problems_changes_nothing(estimator: Estimator, rows: list[Row], data: st.DataObject) -> None:
    assert size_of(data.draw(st.permutations(rows)), estimator) == size_of(rows, estimator)


@budget(deadline=None)
@given(rows=converged, data=st.data())
def test_the_order_of_the_problems_does_not_move_the_crossing(rows: list[Row], data: st.DataObject) -> None:
    shuffled, size = size_of(data.draw(st.permutations(rows)), Estimator.CROSSING), size_of(rows, Estimator.CROSSING)
    assert shuffled.size == pytest.approx(size.size, abs=1e-9)


@budget(deadline=None)
@given(
    results=st.lists(st.tuples(grid, finite, finite, finite), min_size=1, max_size=12),
    thresholds=st.tuples(st.floats(0.01, 2), st.floats(0.01, 2)),
)
def test_max_never_shrinks_as_the_threshold_grows(
    results: list[tuple[float, float, float, float]], thresholds: tuple[float, float]
) -> None:
    def size(threshold: float) -> float:
        rows = [
            Row(level, level, distance, verdict(distance, loss, floor, 1.0, threshold))
            for level, distance, loss, floor in results
        ]
        return size_of(rows, Estimator.MAX, threshold).size

    assert size(min(thresholds)) <= size(max(thresholds))


@pytest.mark.parametrize("estimator", [Estimator.MAX, Estimator.CONTIGUOUS])
@budget(deadline=None)
@given(rows=converged, data=st.data())
def test_distances_that_change_by_less_than_the_margin_leave_the_size(
    estimator: Estimator, rows: list[Row], data: st.DataObject
) -> None:
    size = size_of(rows, estimator)
    shares = st.floats(-0.99, 0.99).map(lambda share: share * min(size.margin, 10.0) * THRESHOLD)
    moved = [(row, row.distance + data.draw(shares)) for row in rows]
    again = [Row(row.level, row.feature_distance, d, R if d < THRESHOLD else U) for row, d in moved]
    assert size_of(again, estimator).size == size.size


@pytest.mark.parametrize("estimator", Estimator)
@budget(deadline=None)
@given(rows=converged)
def test_a_size_where_all_converged_rests_on_nothing(estimator: Estimator, rows: list[Row]) -> None:
    assert not RESTS & set(size_of(rows, estimator).flags)


@pytest.mark.parametrize("estimator", [Estimator.MAX, Estimator.CONTIGUOUS])
@pytest.mark.parametrize("kind", [N, F])
@budget(deadline=None)
@given(rows=problems, data=st.data())
def test_what_did_not_converge_never_counts_as_unrecovered(
    estimator: Estimator, kind: Verdict, rows: list[Row], data: st.DataObject
) -> None:
    spared = [
        Row(row.level, row.feature_distance, row.distance, kind)
        if row.verdict is U and data.draw(st.booleans())
        else row
        for row in rows
    ]
    assert size_of(spared, estimator).size >= size_of(rows, estimator).size


@pytest.mark.parametrize("estimator", Estimator)
@budget(deadline=None)
@given(levels=st.lists(grid, min_size=1, max_size=7, unique=True))
def test_when_everything_is_recovered_the_size_is_the_largest_distance_and_censored(
    estimator: Estimator, levels: list[float]
) -> None:
    size = size_of(curve(*((level, R) for level in levels)), estimator)
    assert size.size == max(levels)
    assert Flag.CENSORED in size.flags


# Closed forms


def test_the_numbers_of_the_theory() -> None:
    assert linear_distance(0.5, 8) == pytest.approx(0.147, abs=5e-4)
    assert linear_size(0.1, 43) == pytest.approx(0.7, abs=1e-3)
    assert linear_distance([0, 0.5], 1).tolist() == pytest.approx([0, 0.5])


@given(threshold=st.floats(0.01, 0.99), expansion=st.floats(1, 1e4))
def test_the_linear_size_is_where_the_linear_distance_meets_the_threshold(threshold: float, expansion: float) -> None:
    assert float(linear_distance(linear_size(threshold, expansion), expansion)) == pytest.approx(threshold, rel=1e-6)


@given(level=st.floats(0.01, 0.99), expansions=st.tuples(st.floats(1, 1e4), st.floats(1, 1e4)))
def test_more_dimensions_never_make_the_linear_distance_larger(level: float, expansions: tuple[float, float]) -> None:
    few, many = sorted(expansions)
    assert linear_distance(level, many) <= linear_distance(level, few)


@pytest.mark.parametrize("level", [0.3, 0.5, 0.9])
def test_the_linear_distance_is_what_least_squares_gives(level: float) -> None:
    dimension, expansion, draws = 512, 4, 100
    rng = np.random.default_rng(0)
    weight = np.linalg.qr(rng.standard_normal((expansion * dimension, dimension)))[0]
    x = rng.standard_normal(dimension)
    h = weight @ x
    noise = np.sqrt((1 - level) ** -2 - 1) * h.std() * rng.standard_normal((len(h), draws))
    recovered = np.linalg.lstsq(weight, h[:, None] + noise, rcond=None)[0]
    distances = [1 - np.corrcoef(x, recovered[:, draw])[0, 1] for draw in range(draws)]
    # A correlation over d dimensions has a standard deviation of at most 1/√d and a bias of order 1/d.
    tolerance = 4 / np.sqrt(dimension * draws) + 1 / dimension
    assert np.mean(distances) == pytest.approx(float(linear_distance(level, expansion)), abs=tolerance)


@given(variance=st.floats(0.01, 100), expansion=st.floats(1, 100), level=st.floats(0, 0.99))
def test_wieners_distance_of_equal_variances_is_the_linear_one(variance: float, expansion: float, level: float) -> None:
    expected = float(linear_distance(level, expansion))
    assert float(wiener_distance(level, [variance] * 7, expansion)) == pytest.approx(expected, abs=1e-9)


def test_wieners_distance_in_numbers() -> None:
    spectrum = 1 / np.arange(1, 401)
    found = wiener_distance([0.3, 0.5, 0.7, 0.9], spectrum, 8)
    assert found.tolist() == pytest.approx([0.048, 0.099, 0.186, 0.414], abs=5e-4)
    assert wiener_distance([0, 0.5], [4, 1, 0], 1).tolist() == pytest.approx(
        [0, 1 - ((16 / (4 + 5)) + 1 / (1 + 5)) ** 0.5 / 5**0.5]  # σ² = 5/3 · 3
    )


def test_no_linear_readout_is_better_than_wieners() -> None:
    level, expansion = 0.6, 2.0
    variances = np.array([4.0, 1.0, 0.3, 0.01])
    noise = variances.mean() * ((1 - level) ** -2 - 1) / expansion
    gains = np.random.default_rng(0).uniform(0, 1, (500, 4))
    correlations = (gains * variances).sum(1) / np.sqrt((gains**2 * (variances + noise)).sum(1) * variances.sum())
    assert (1 - correlations).min() >= float(wiener_distance(level, variances, expansion))


@pytest.mark.parametrize("estimator", list(Estimator))
def test_where_no_feature_could_be_perturbed_there_is_no_size(estimator: Estimator) -> None:
    size = size_of([Row(level, math.nan, math.nan, F) for level in (0.0, 0.5)], estimator)
    assert math.isnan(size.size)
    assert size.flags == (Flag.UNDEFINED,)


def test_a_level_that_could_not_be_perturbed_leaves_the_size_open() -> None:
    rows = [Row(0.0, 0.0, 0.05, R), Row(0.3, math.nan, math.nan, F), Row(0.5, 0.5, 0.05, R), Row(0.9, math.nan, 0.0, F)]
    size = size_of(rows, Estimator.MAX)
    assert size.size == 0.5
    assert size.flags == (Flag.RESTS_ON_FAILED,)
