from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readout.common.errors import ReadoutError
from readout.problems import Problem, batches, check_problems, cross

BASE = Problem(setting="s", sample="cat", input_digest="d", layer="conv1_1", level=0.5, draw=0, seed=1)
CHANGES = [
    replace(BASE, setting="t"),
    replace(BASE, sample="dog"),
    replace(BASE, input_digest="e"),
    replace(BASE, layer="conv1_2"),
    replace(BASE, level=0.7),
    replace(BASE, draw=1),
    replace(BASE, seed=2),
    replace(BASE, reading=1),
]


def test_equal_problems_have_equal_keys() -> None:
    assert replace(BASE).key == BASE.key
    assert replace(BASE).noise_seed == BASE.noise_seed
    assert replace(BASE).prior_seed() == BASE.prior_seed()


def test_keys_and_seeds_are_those_of_results_on_disk() -> None:
    assert BASE.key == "d86392a13edd52e6922f13770b5bc93a"
    assert (BASE.noise_seed, BASE.prior_seed()) == (6244752044393849441, 533333535651612288)


def test_a_change_of_any_field_changes_the_key() -> None:
    assert len({problem.key for problem in [BASE, *CHANGES]}) == len(CHANGES) + 1


def test_a_change_of_the_code_that_changes_answers_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = BASE.key
    monkeypatch.setattr("readout.problems.problem.ALGORITHM", -1)
    assert replace(BASE).key != before


@given(levels=st.lists(st.floats(0, 0.99), min_size=2, max_size=5), draw=st.integers(0, 5))
def test_noise_and_prior_are_the_same_at_every_level(levels: list[float], draw: int) -> None:
    problems = [replace(BASE, level=level, draw=draw) for level in levels]
    assert len({problem.noise_seed for problem in problems}) == 1
    assert len({problem.prior_seed() for problem in problems}) == 1


@pytest.mark.parametrize("field", ["draw", "seed", "input_digest", "layer"])
def test_noise_and_prior_differ_between_draws_seeds_inputs_and_layers(field: str) -> None:
    other = replace(BASE, **{field: {"draw": 1, "seed": 2, "input_digest": "e", "layer": "conv1_2"}[field]})  # type: ignore[arg-type]
    assert other.noise_seed != BASE.noise_seed
    assert other.prior_seed() != BASE.prior_seed()


def test_an_input_has_the_same_noise_under_another_name_and_readout() -> None:
    assert replace(BASE, sample="dog", setting="t").noise_seed == BASE.noise_seed
    assert replace(BASE, sample="dog", setting="t").prior_seed() == BASE.prior_seed()


def test_readings_share_the_noise_and_start_anew() -> None:
    readings = [replace(BASE, reading=reading) for reading in range(3)]
    assert len({reading.noise_seed for reading in readings}) == 1
    assert len({reading.prior_seed(restart) for reading in readings for restart in range(3)}) == 9


def test_every_restart_has_a_prior_of_its_own_and_none_is_seeded_as_the_noise() -> None:
    seeds = [replace(BASE, draw=draw).prior_seed(restart) for draw in range(4) for restart in range(4)]
    assert len({*seeds, BASE.noise_seed}) == 17


def test_cross_makes_every_problem_once_with_the_levels_of_an_input_and_draw_side_by_side() -> None:
    problems = cross("s", [("cat", "d"), ("dog", "e")], "conv1_1", [0.0, 0.5], draws=2, seed=1)
    assert [(problem.sample, problem.draw, problem.level) for problem in problems] == [
        ("cat", 0, 0.0),
        ("cat", 0, 0.5),
        ("cat", 1, 0.0),
        ("cat", 1, 0.5),
        ("dog", 0, 0.0),
        ("dog", 0, 0.5),
        ("dog", 1, 0.0),
        ("dog", 1, 0.5),
    ]
    assert {(problem.setting, problem.layer, problem.seed) for problem in problems} == {("s", "conv1_1", 1)}
    assert {(problem.sample, problem.input_digest) for problem in problems} == {("cat", "d"), ("dog", "e")}
    assert len({problem.key for problem in problems}) == 8


@given(count=st.integers(0, 20), size=st.integers(1, 8))
def test_batches_are_full_but_for_the_last_and_keep_the_order(count: int, size: int) -> None:
    problems = [replace(BASE, draw=draw) for draw in range(count)]
    groups = list(batches(problems, size))
    assert [problem for group in groups for problem in group] == problems
    assert all(len(group) == size for group in groups[:-1])
    assert all(1 <= len(group) <= size for group in groups)


def test_more_problems_than_a_sweep_takes_are_refused_from_their_counts() -> None:
    check_problems(10, 10, 100, 100)
    words = r"1,000,000,000 inversions \(1 layers × 1 levels × 1,000,000,000 draws × 1 inputs\) .* 1,000,000 that"
    with pytest.raises(ReadoutError, match=words):
        check_problems(1, 1, 1_000_000_000, 1)
