"""The schedule under an executor that answers in any order, is slow to answer, and gives batches up."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from readout.problems import Problem, batches, cross
from readout.problems.search import Found, Search, wanted_now
from readout.representation import Verdict
from readout.sweep.plan import LayerPlan
from readout.sweep.probe import Cost
from readout.sweep.schedule import Batch, LayerSchedule, Schedule

LAYERS = ["early", "middle", "late"]
INPUTS = [(name, name) for name in "abc"]
LEVELS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
SIZE = 4

chances = st.randoms(use_true_random=False)
a_few = settings(max_examples=20, deadline=None)


@cache
def crossed(layer: str, draws: int, readings: int, levels: int) -> list[Problem]:
    return cross("s", INPUTS, layer, LEVELS[:levels], draws, 0, readings)


def plans(draws: int = 1, readings: int = 1, levels: int = len(LEVELS)) -> list[LayerPlan]:
    each = {layer: crossed(layer, draws, readings, levels) for layer in LAYERS}
    return [
        LayerPlan(layer, of, [*batches(of, SIZE)], Cost(), 0, len(of), len(of), SIZE, Found())
        for layer, of in each.items()
    ]


def recovered(problem: Problem) -> bool:
    """Recovery up to a level that depends on layer and input; for one input it is not monotone."""
    chance = random.Random(f"{problem.layer} {problem.sample}")
    return problem.level <= chance.choice(LEVELS) or (problem.sample == "c" and problem.level > 0.5)


def answer(problems: Sequence[Problem]) -> pd.DataFrame:
    rows = [(problem.key, problem.sample, problem.level, recovered(problem)) for problem in problems]
    table = pd.DataFrame(rows, columns=["key", "sample", "level", "verdict"])
    verdicts = {True: Verdict.RECOVERED.value, False: Verdict.UNRECOVERED.value}
    return table.assign(verdict=table["verdict"].map(verdicts))


@dataclass
class Played:
    """What an executor saw of a schedule."""

    search: Search
    layers: list[LayerPlan]
    trained: bool = True
    fails: Callable[[Batch], bool] = lambda batch: False
    """Whether a batch is given up."""
    taken: list[Batch | str] = field(default_factory=list)
    """Batches, and layers to train at, in the order in which they were handed out."""
    running: list[list[Batch | str]] = field(default_factory=list)
    """What ran when each was handed out."""
    done: list[str] = field(default_factory=list)
    rounds: list[tuple[str, list[list[str]]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        each = [LayerSchedule(layer, layer.batches * (self.search == "grid"), self.trained) for layer in self.layers]
        self.schedule = Schedule(each, self.search, self._begin_round)

    def play(self, workers: int = 1, chance: random.Random | None = None) -> "Played":
        """Let workers take what there is, and answer in an order that chance decides; without it the first first."""
        running: list[Batch | str] = []
        self._take_done()
        while True:
            while len(running) < workers and (due := self.schedule.take()) is not None:
                self.taken.append(due)
                self.running.append([*running])
                running.append(due)
            if not running:
                return self
            ended = running.pop(chance.randrange(len(running)) if chance else 0)
            if isinstance(ended, str):
                self.schedule.trained(ended)
            else:
                self.schedule.answered(ended, None if self.fails(ended) else answer(ended.problems))
            self._take_done()

    @property
    def batches(self) -> list[Batch]:
        return [one for one in self.taken if isinstance(one, Batch)]

    def groups(self, layer: str) -> Counter[str]:
        """Names of the batches of a layer."""
        return Counter(batch.name for batch in self.batches if batch.layer == layer)

    def keys(self) -> Counter[str]:
        return Counter(problem.key for batch in self.batches for problem in batch.problems)

    def _take_done(self) -> None:
        self.done += [layer.layer for layer in self.schedule.take_done()]

    def _begin_round(self, layer: str, groups: Sequence[Sequence[Problem]]) -> None:
        self.rounds.append((layer, [[problem.key for problem in group] for group in groups]))


@a_few
@given(chances, st.integers(1, 5))
def test_a_grid_is_read_once_and_in_order_whoever_answers_first(chance: random.Random, workers: int) -> None:
    layers = plans()
    played = Played("grid", layers).play(workers, chance)
    assert [batch.problems for batch in played.batches] == [batch for layer in layers for batch in layer.batches]
    assert sorted(played.done) == sorted(LAYERS)
    assert [layer.found.keys for layer in layers] == [{each.key for each in layer.problems} for layer in layers]
    assert played.rounds == []


@cache
def one_by_one() -> Played:
    """A search by one worker."""
    return Played("bisection", plans(draws=2)).play()


def test_a_search_reads_layer_after_layer_what_its_rounds_ask_for() -> None:
    assert one_by_one().done == LAYERS
    assert [batch.layer for batch in one_by_one().batches] == sorted(
        (batch.layer for batch in one_by_one().batches), key=LAYERS.index
    )
    for layer in plans(draws=2):
        asked = [groups for name, groups in one_by_one().rounds if name == layer.layer]
        found = Found()
        for groups in asked:  # each round is what the results of those before ask for
            wanted = wanted_now(layer.problems, found, "bisection")
            assert [key for group in groups for key in group] == [problem.key for problem in wanted]
            assert max(map(len, groups)) <= SIZE
            found.add(answer(wanted))
        assert wanted_now(layer.problems, found, "bisection") == []
    assert len(one_by_one().keys()) < sum(len(layer.problems) for layer in plans(draws=2))


@a_few
@given(chances, st.integers(1, 5))
def test_the_groups_of_a_search_do_not_depend_on_the_order_of_answers(chance: random.Random, workers: int) -> None:
    played = Played("bisection", plans(draws=2)).play(workers, chance)
    for layer in LAYERS:
        assert played.groups(layer) == one_by_one().groups(layer)
        rounds, expected = ([of for name, of in each.rounds if name == layer] for each in (played, one_by_one()))
        assert rounds == expected
    assert set(played.keys().values()) == {1}
    assert sorted(played.done) == sorted(LAYERS)


@a_few
@given(chances, st.integers(2, 5), st.sampled_from(["grid", "bisection"]))
def test_later_readings_wait_for_the_first(chance: random.Random, workers: int, search: Search) -> None:
    layers = plans(readings=3, levels=3)
    played = Played(search, layers).play(workers, chance)
    assert set(played.keys().values()) == {1}
    first = {(each.layer, each.sample, each.level): each.key for each in _problems(layers) if not each.reading}
    for batch, running in zip(played.batches, played.running, strict=True):
        in_hand = {problem.key for one in running if isinstance(one, Batch) for problem in one.problems}
        waited_for = {first[each.layer, each.sample, each.level] for each in batch.problems if each.reading}
        assert not waited_for & in_hand


@a_few
@given(chances, st.integers(1, 5), st.sampled_from(["grid", "bisection"]))
def test_each_layer_is_trained_once_and_before_it_is_read(chance: random.Random, workers: int, search: Search) -> None:
    played = Played(search, plans(), trained=False).play(workers, chance)
    assert [one for one in played.taken if isinstance(one, str)] == LAYERS
    for place, (one, running) in enumerate(zip(played.taken, played.running, strict=True)):
        if isinstance(one, Batch):
            assert one.layer in played.taken[:place]
            assert one.layer not in running
    assert sorted(played.done) == sorted(LAYERS)
    assert set(played.keys().values()) == {1}


@a_few
@given(chances, st.integers(1, 5))
def test_of_a_grid_only_the_batches_given_up_are_missing(chance: random.Random, workers: int) -> None:
    layers, numbers = plans(), count()
    lost: set[str] = set()

    def fails(batch: Batch) -> bool:
        if next(numbers) % 3 == 2:
            lost.update(problem.key for problem in batch.problems)
            return True
        return False

    played = Played("grid", layers, fails=fails).play(workers, chance)
    assert lost
    found = set().union(*(layer.found.keys for layer in layers))
    assert found == {problem.key for problem in _problems(layers)} - lost
    assert set(played.keys().values()) == {1}
    assert sorted(played.done) == sorted(LAYERS)


@a_few
@given(chances, st.integers(1, 5))
def test_a_search_goes_no_further_at_a_layer_where_a_batch_was_given_up(chance: random.Random, workers: int) -> None:
    given_up = next(batch.name for batch in one_by_one().batches if batch.layer == "middle")
    played = Played("bisection", plans(draws=2), fails=lambda batch: batch.name == given_up).play(workers, chance)
    assert len([layer for layer, _ in played.rounds if layer == "middle"]) == 1
    assert [played.groups(layer) for layer in ("early", "late")] == [
        one_by_one().groups(layer) for layer in ("early", "late")
    ]
    assert sorted(played.done) == sorted(LAYERS)


def test_what_is_left_of_a_round_comes_before_the_next() -> None:
    (layer, *_) = plans(draws=2)
    wanted = wanted_now(layer.problems, Found(), "bisection")
    layer.found.add(answer(wanted[:6]))
    interrupted = [wanted[8:12], wanted[6:8], wanted[12:]]
    rounds: list[str] = []
    schedule = Schedule([LayerSchedule(layer, interrupted)], "bisection", lambda name, groups: rounds.append(name))
    handed = [schedule.take() for _ in interrupted]
    assert [batch.problems for batch in handed if isinstance(batch, Batch)] == interrupted
    for batch in handed:
        assert isinstance(batch, Batch)
        assert (schedule.take(), rounds) == (None, [])
        schedule.answered(batch, answer(batch.problems))
    assert schedule.take_done() == []
    assert rounds == ["early"]


def test_a_layer_with_nothing_left_is_done_at_once() -> None:
    (layer, other, _) = plans()
    schedule = Schedule([LayerSchedule(layer, []), LayerSchedule(other, other.batches)], "grid")
    assert schedule.take_done() == [layer]
    assert schedule.take_done() == []


def _problems(layers: Sequence[LayerPlan]) -> list[Problem]:
    return [problem for layer in layers for problem in layer.problems]
