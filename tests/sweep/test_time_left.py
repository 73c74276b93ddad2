import random
from collections.abc import Callable

import pytest

from readout.sweep.time_left import LayerTime, Left, TimeLeft

Fit = Callable[[str, int], float]
STEPS = 10
BATCH = 16
TRUE = {"shallow": 1.0, "middle": 2.0, "deep": 4.0}
"""Seconds per problem."""


class Sweep:
    """A sweep on a clock of its own, so that the true time left is known."""

    def __init__(self, layers: dict[str, LayerTime], fit: Fit, storing: float = 0.0) -> None:
        self.layers, self.fit, self.storing = layers, fit, storing
        self.left = TimeLeft(layers)
        self.now = 1000.0
        self.after: list[tuple[float, float]] = []
        """(time, seconds left as told then), after each batch."""
        self.shares = [self.left.share]
        """After each step."""

    def run(self) -> "Sweep":
        for name, layer in self.layers.items():
            for _ in range(layer.problems // BATCH):
                self.run_batch(name, BATCH)
            self.left.end_layer(name, self.now)
        self.shares.append(self.left.share)
        return self

    def run_batch(self, name: str, size: int) -> None:
        self.left.start_batch("batch", name, size, self.now)
        took = self.fit(name, size)
        for step in range(1, STEPS + 1):
            self.left.step("batch", self.now + took * step / STEPS, step / STEPS)
            self.shares.append(self.left.share)
        self.now += took + self.storing * size
        self.left.end_batch("batch", self.now)
        self.after.append((self.now, self.left.seconds().most))

    def errors(self) -> list[float]:
        """Told over true time left after each batch but the last, minus 1."""
        return [told / (self.now - time) - 1 for time, told in self.after[:-1]]


def layer_time(problems: int, forecast: float) -> LayerTime:
    return LayerTime(problems, problems, forecast)


def layers(probe: Callable[[str], float] = lambda name: 1.0) -> dict[str, LayerTime]:
    return {name: layer_time(4 * BATCH, cost * probe(name)) for name, cost in TRUE.items()}


def linear(name: str, size: int) -> float:
    return TRUE[name] * size


def test_before_anything_ran_the_forecast_is_the_probes() -> None:
    left = TimeLeft(layers())
    assert left.seconds() == Left(64 * 7, 64 * 7)
    assert (left.share, left.measured) == (0.0, False)


@pytest.mark.parametrize(
    "sweep",
    [
        Sweep(layers(), linear),
        Sweep(layers(probe=lambda name: 0.5), linear),  # everything twice as slow as probed
        Sweep(layers(), lambda name, size: 0.3 * linear(name, size)),  # problems arrive early
        Sweep(layers(probe=lambda name: 2 * (TRUE[name] + 0.5) / TRUE[name]), linear, storing=0.5),
    ],
)
def test_one_batch_tells_how_long_the_rest_takes(sweep: Sweep) -> None:
    errors = sweep.run().errors()
    assert errors == pytest.approx([0.0] * len(errors))
    assert sweep.shares[-1] == 1.0


def test_a_layer_whose_probe_was_disturbed_is_corrected_by_its_own_first_batch() -> None:
    errors = Sweep(layers(probe=lambda name: 4.0 if name == "shallow" else 1.0), linear).run().errors()
    # the first batch says nothing but that the first probe was 4 times too long: of 304 + 48 s left
    assert errors[0] == pytest.approx((64 * 6 / 4 + 48) / (64 * 6 + 48) - 1)
    # after a batch of the next layer only the third is told wrongly, by the pace of both: 64 + 32 s where 256 + 32 were
    assert errors[4] == pytest.approx((48 * 2 + 64 * 4 * 96 / 288) / (48 * 2 + 64 * 4) - 1)
    assert errors[8:] == pytest.approx([0.0] * 3)


def test_the_first_steps_of_a_layer_which_set_things_up_do_not_move_the_forecast() -> None:
    left = TimeLeft({"one": layer_time(200, 1.0)})
    left.start_batch("batch", "one", 100, 0.0)
    left.step("batch", 2.0, 0.01)  # twice as long as forecast, and a tenth of what is trusted
    assert left.seconds().most == pytest.approx(199)
    left.step("batch", 110.0, 1.0)
    assert left.seconds().most == pytest.approx(110)


def test_restarts_take_time_and_no_progress_back() -> None:
    left = TimeLeft({"one": layer_time(8, 1.0)})
    left.start_batch("batch", "one", 4, 0.0)
    left.step("batch", 4.0, 1.0)
    assert (left.share, left.seconds().most) == pytest.approx((0.5, 4.0))
    left.step("batch", 4.0, 0.0)  # a problem died and starts again
    left.step("batch", 6.0, 1.0)
    assert (left.share, left.seconds().most) == pytest.approx((0.5, 6.0))


def test_a_batch_that_goes_on_after_an_interruption_counts_what_it_took_before() -> None:
    left = TimeLeft({"only": layer_time(8, 1.0)})
    left.start_batch("batch", "only", 4, 100.0)
    left.step("batch", 100.0, 0.75, before=6.0)
    left.step("batch", 101.0, 0.875)
    assert left.seconds().most == pytest.approx(8 * (0.125 * 4 + 4) / 4)
    left.step("batch", 102.0, 1.0)
    left.end_batch("batch", 102.0)
    assert left.seconds().most == pytest.approx(8.0)


def test_a_search_ends_with_what_is_certainly_wanted_or_goes_on_as_long_as_it_can() -> None:
    left = TimeLeft({name: LayerTime(problems=20, least=6, forecast=1.0) for name in ("first", "second")})
    assert left.seconds() == Left(12, 40)
    for problems, least, most in ((6, 3, 7 + 10), (2, 3, 6 + 10)):
        left.start_batch("batch", "first", problems, 0.0)
        left.end_batch("batch", problems / 2)  # twice as fast as foreseen
        assert [left.seconds().least, left.seconds().most] == pytest.approx([least, most])
    assert left.share == pytest.approx(8 / (8 + 6 + 13))
    left.end_layer("first", 1.0)
    assert left.share == pytest.approx(8 / (8 + 13))


def test_layers_with_nothing_left_take_nothing() -> None:
    left = TimeLeft({"done": layer_time(0, 0.0), "todo": layer_time(4, 1.0)})
    left.end_layer("done", 0.0)
    assert left.seconds().most == pytest.approx(4)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_clock_learns_progress_never_runs_backwards_and_the_forecast_holds(seed: int) -> None:
    chance = random.Random(seed)
    probes = {name: chance.gauss(0.6, 0.05) for name in TRUE}  # 40 % too short, and 8 % off from each other

    def noisy(name: str, size: int) -> float:
        return linear(name, size) * chance.gauss(1.0, 0.05)

    sweep = Sweep(layers(probe=probes.__getitem__), noisy, storing=0.05).run()
    assert max(abs(error) for error in sweep.errors()) < 0.15
    disturbed = Sweep(layers(probe=lambda name: chance.choice((0.2, 1, 5))), noisy).run()
    for shares in (sweep.shares, disturbed.shares):
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_a_further_round_of_a_search_takes_no_progress_back() -> None:
    left = TimeLeft({"only": LayerTime(problems=4, least=2, forecast=1.0)})
    left.start_batch("batch", "only", 2, 0.0)
    left.end_batch("batch", 2.0)
    assert left.share == pytest.approx(2 / (2 + 1))  # none to two more
    left.start_batch("batch", "only", 2, 2.0)  # two more, for certain
    assert left.share == pytest.approx(2 / 3)
    left.end_batch("batch", 4.0)
    assert left.share == 1.0


def test_two_batches_at_once_share_the_time_that_is_left() -> None:
    left = TimeLeft({"one": layer_time(12, 1.0)})
    left.start_batch("a", "one", 4, 0.0)
    left.start_batch("b", "one", 4, 1.0)
    left.step("a", 4.0, 0.5)
    left.step("b", 5.0, 0.25)
    # 2 + 1 problems done in the 4 + 4 seconds of two workers; 9 are left
    assert left.seconds(workers=2).most == pytest.approx(9 * (8 / 3) / 2)
    assert left.seconds().most == pytest.approx(9 * (8 / 3))
    assert left.share == pytest.approx(3 / 12)
    left.end_batch("b", 6.0)
    left.end_batch("a", 8.0)
    assert left.seconds(workers=2).most == pytest.approx(4 * (13 / 8) / 2)
    assert left.share == pytest.approx(8 / 12)


def test_batches_of_two_layers_at_once_count_for_their_own() -> None:
    left = TimeLeft({"fast": layer_time(4, 1.0), "slow": layer_time(4, 1.0)})
    left.start_batch("a", "fast", 2, 0.0)
    left.start_batch("b", "slow", 2, 0.0)
    left.end_batch("a", 2.0)
    left.end_batch("b", 6.0)
    left.end_layer("fast", 6.0)
    assert left.seconds().most == pytest.approx(2 * 3.0)


def test_a_batch_that_lost_its_worker_takes_its_time_and_starts_over() -> None:
    left = TimeLeft({"one": layer_time(8, 1.0)})
    left.start_batch("a", "one", 4, 0.0)
    left.start_batch("b", "one", 4, 0.0)
    left.step("a", 3.0, 0.75)
    left.step("b", 4.0, 1.0)
    assert left.share == pytest.approx(7 / 8)
    left.lose_batch("a")
    assert left.share == pytest.approx(7 / 8)  # progress never runs backwards
    assert left.seconds().most == pytest.approx(4 * (3 + 4) / 4)
    left.start_batch("a", "one", 4, 5.0)
    left.end_batch("a", 9.0)
    left.end_batch("b", 9.0)
    left.end_layer("one", 9.0)
    assert (left.share, left.seconds().most) == (1.0, 0.0)
