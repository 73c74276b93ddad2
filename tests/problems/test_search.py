from collections.abc import Sequence

import pandas as pd
import pytest

from readout.problems.design import Design
from readout.problems.search import most_levels, next_levels, recovered_levels

LEVELS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99]


def bisect(levels: Sequence[float], truth: Sequence[bool]) -> dict[float, bool]:
    found: dict[float, bool] = {}
    while wanted := next_levels(levels, found):
        assert not set(wanted) & set(found)
        found |= {level: truth[levels.index(level)] for level in wanted}
    return found


def largest(levels: Sequence[float], recovered: dict[float, bool]) -> float | None:
    return max((level for level in levels if recovered.get(level)), default=None)


@pytest.mark.parametrize("count", range(1, 21))
def test_finds_what_the_grid_finds_wherever_recovery_ends(count: int) -> None:
    levels = [place / count for place in range(count)]
    for boundary in range(count + 1):
        truth = [place < boundary for place in range(count)]
        found = bisect(levels, truth)
        assert largest(levels, found) == largest(levels, dict(zip(levels, truth, strict=True)))
        assert levels[0] in found  # or size 0 could not be told from a readout that never works
        assert len(found) <= most_levels(levels)


def test_a_few_levels_are_enough() -> None:
    assert most_levels(LEVELS) == 6
    assert most_levels([place / 64 for place in range(64)]) <= 9


def test_looks_above_the_first_lost_level() -> None:
    for boundary in range(len(LEVELS) - 1):
        found = bisect(LEVELS, [place < boundary for place in range(len(LEVELS))])
        assert sum(not recovered for recovered in found.values()) >= 2


def test_the_whole_grid_where_recovery_is_not_monotone() -> None:
    truth = [True] * 5 + [False] + [True] * 5  # the first look in the middle hits the gap
    assert set(bisect(LEVELS, truth)) == set(LEVELS)
    assert next_levels(LEVELS, {0.0: False, 0.5: True}) == [level for level in LEVELS if level not in (0.0, 0.5)]


def test_goes_on_from_what_is_known() -> None:
    assert next_levels(LEVELS, {0.5: True}) == [0.0]
    assert next_levels(LEVELS, {0.0: True, 0.4: True, 0.6: False, 0.7: False}) == [0.5]
    assert next_levels(LEVELS, {0.0: True, 0.5: True, 0.6: False}) == [0.7]
    assert next_levels(LEVELS, {0.0: True, 0.5: True, 0.6: False, 0.7: False}) == []


def test_a_level_counts_when_all_of_its_draws_are_done_and_recovered() -> None:
    rows = [("a", 0.0, 0, True), ("a", 0.0, 1, True), ("a", 0.5, 0, True), ("a", 0.5, 1, False), ("a", 0.9, 0, True)]
    table = pd.DataFrame(rows, columns=["sample", "level", "draw", "recovered"])
    table["verdict"] = table["recovered"].map({True: "recovered", False: "not_converged"})
    assert recovered_levels(table, repeats=2) == {"a": {0.0: True, 0.5: False}}


def test_a_design_lacks_what_a_search_wants_next_of_every_draw() -> None:
    design = Design("one", 0, "bisection", layers=["early", "late"], samples=["a", "b"], levels=LEVELS, draws=2)
    rows = [("early", "a", level, draw) for level in (0.0, 0.5) for draw in (0, 1)] + [("early", "b", 0.0, 0)]
    table = pd.DataFrame(rows, columns=["layer", "sample", "level", "draw"]).assign(setting="one", seed=0, reading=0)
    table["verdict"] = "recovered"
    # one level next for "a"; two for "b", of which a draw is missing, and for both at the other layer
    assert design.lacking(table) == 2 * (1 + 2 + 2 + 2)
    assert design.lacking(table.assign(seed=1)) == 2 * (2 + 2 + 2 + 2)
