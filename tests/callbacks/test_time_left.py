import random
from collections.abc import Callable

import pytest

from readout.callbacks.time_left import Foreseen, Left, TimeLeft

Fit = Callable[[str, int], float]
STEPS = 10


class Sweep:
    """A sweep on a clock of its own: what a batch really takes is known, and so is what is left."""

    def __init__(self, layers: dict[str, Foreseen], fit: Fit, storing: float = 0.0, logging: float = 0.0) -> None:
        self.layers, self.fit, self.storing, self.logging = layers, fit, storing, logging
        self.left = TimeLeft(layers)
        self.now = 1000.0
        self.after: list[tuple[float, float]] = []
        """(time, seconds left as told then), after each batch."""

    def run(self) -> "Sweep":
        for name, layer in self.layers.items():
            self.run_layer(name, [layer.batch_size] * (layer.problems // layer.batch_size), layer)
        return self

    def run_layer(self, name: str, batches: list[int], layer: Foreseen) -> None:
        rest = layer.problems - sum(batches)
        for size in [*batches, *([rest] if rest else [])]:
            self.left.start_batch(name, size, self.now)
            self.left.start_fit(size, self.now)
            took = self.fit(name, size)
            for step in range(1, STEPS + 1):
                self.left.step(self.now + took * step / STEPS, step / STEPS)
            self.now += took
            self.left.end_fit(self.now)
            self.now += self.storing * size
            self.left.end_batch(self.now)
            self.after.append((self.now, self.left.seconds.most))
        self.now += self.logging * layer.problems
        self.left.end_layer(name, self.now)

    def errors(self) -> list[float]:
        """Told over true time left after each batch, minus 1; the last one, where both are near 0, left out."""
        return [told / (self.now - time) - 1 for time, told in self.after if self.now - time > 1e-6]


TRUE = {"shallow": 1.0, "middle": 2.0, "deep": 4.0}


def foreseen(problems: int, size: int, each: float, fixed: float = 0.0) -> Foreseen:
    return Foreseen(problems, problems, size, each, fixed)


def layers(problems: int = 64, size: int = 16, probe: Callable[[str], float] = lambda name: 1.0) -> dict[str, Foreseen]:
    return {name: foreseen(problems, size, cost * probe(name)) for name, cost in TRUE.items()}


def linear(name: str, size: int) -> float:
    return TRUE[name] * size


def test_before_anything_ran_the_probe_is_all_there_is() -> None:
    left = TimeLeft(layers())
    assert left.seconds == Left(64 * 7, 64 * 7)
    assert not left.measured


def test_a_sweep_that_goes_as_foreseen_is_foreseen() -> None:
    assert Sweep(layers(), linear).run().errors() == pytest.approx([0.0] * 11)


def test_one_batch_tells_how_much_slower_everything_is_than_probed() -> None:
    sweep = Sweep(layers(probe=lambda name: 0.5), linear).run()
    assert sweep.errors() == pytest.approx([0.0] * 11)


def test_a_layer_whose_probe_was_disturbed_is_corrected_by_its_own_first_batch() -> None:
    errors = Sweep(layers(probe=lambda name: 4.0 if name == "shallow" else 1.0), linear).run().errors()
    # one batch says nothing but that the first probe was 4 times too long: of 304 + 48 s left
    assert errors[0] == pytest.approx((64 * 6 / 4 + 48) / (64 * 6 + 48) - 1)
    # a batch of the next layer puts it right; the mean of paces 1/4 and 1, by 64 and 32 s
    pace = 0.25 ** (64 / 96)
    assert errors[4] == pytest.approx((48 * 2 + 64 * 4 * pace) / (48 * 2 + 64 * 4) - 1)
    assert errors[8:] == pytest.approx([0.0] * 3)


def test_time_around_the_fits_follows_the_number_of_problems() -> None:
    sweep = Sweep(layers(probe=lambda name: 1.5), linear, storing=0.5).run()
    assert sweep.errors() == pytest.approx([0.0] * 11)


def test_logging_at_the_end_of_a_layer_is_known_from_the_first_layer_on() -> None:
    errors = Sweep(layers(), linear, logging=0.5).run().errors()
    assert errors[0] < -0.1
    assert errors[4:] == pytest.approx([0.0] * (len(errors) - 4))


def test_small_last_batches_cost_more_than_their_share_where_problems_run_in_parallel() -> None:
    def parallel(name: str, size: int) -> float:
        return TRUE[name] * (3.8 + 0.05 * size)  # as on a GPU

    sweep = Sweep({name: foreseen(75, 64, 0.1 * cost, 7.6 * cost) for name, cost in TRUE.items()}, parallel)
    assert sweep.run().errors() == pytest.approx([0.0] * 5)  # the probe said twice as long


def test_problems_that_arrive_early_or_start_again_are_in_the_pace() -> None:
    early = Sweep(layers(), lambda name, size: 0.3 * linear(name, size)).run()
    assert early.errors() == pytest.approx([0.0] * 11)
    left = TimeLeft({"one": foreseen(8, 4, 1.0)})
    left.start_batch("one", 4, 0.0)
    left.start_fit(4, 0.0)
    left.end_fit(4.0)
    left.start_fit(1, 4.0)  # one died
    assert left.seconds.most == pytest.approx(1 + 5)
    left.end_fit(5.0)
    left.end_batch(5.0)
    assert left.seconds.most == pytest.approx(5)


def test_a_batch_goes_on_at_its_speed_of_late() -> None:
    left = TimeLeft({"one": foreseen(200, 100, 1.0)})
    left.start_batch("one", 100, 0.0)
    left.start_fit(100, 0.0)
    left.step(30.0, 0.01)  # the first step sets things up, and says nothing of those to come
    assert left.seconds.most == pytest.approx(99 + 129)
    for step in range(2, 51):  # another process takes half of the machine
        left.step(30.0 + 2 * (step - 1), step / 100)
    assert left.seconds.most == pytest.approx(100 + 128 + 100, rel=0.01)
    for step in range(51, 91):  # and is gone again
        left.step(128.0 + step - 50, step / 100)
    assert left.seconds.most == pytest.approx(10 + 168 + 10, rel=0.01)
    assert not left.measured


def test_a_batch_that_goes_on_after_an_interruption_counts_what_it_took_before() -> None:
    left = TimeLeft({"only": foreseen(8, 4, 1.0)})
    left.start_batch("only", 4, 100.0)
    left.start_fit(4, 100.0, before=6.0, share=0.75)
    left.step(101.0, share=0.875)
    assert left.seconds.most == pytest.approx(1.0 + 8.0)
    left.end_fit(102.0)
    left.end_batch(102.0)
    assert left.seconds.most == pytest.approx(8.0)


def test_a_search_ends_with_what_is_certainly_wanted_or_goes_on_as_long_as_it_can() -> None:
    left = TimeLeft({name: Foreseen(problems=20, least=6, batch_size=10, each=1.0) for name in ("first", "second")})
    assert left.seconds == Left(12, 40)
    for problems, least, most in ((6, 3, 7 + 10), (2, 3, 6 + 10)):
        left.start_batch("first", problems, 0.0)
        left.start_fit(problems, 0.0)
        left.end_fit(problems / 2)  # twice as fast as foreseen
        left.end_batch(problems / 2)
        assert [left.seconds.least, left.seconds.most] == pytest.approx([least, most])
    left.end_layer("first", 1.0)
    assert left.seconds.most - left.seconds.least == pytest.approx(7)


def test_layers_with_nothing_left_take_nothing() -> None:
    left = TimeLeft({"done": foreseen(0, 1, 0.0), "todo": foreseen(4, 4, 1.0)})
    left.end_layer("done", 0.0)
    assert left.seconds.most == pytest.approx(4)


@pytest.mark.parametrize("seed", range(5))
def test_after_the_first_batch_it_is_honest_within_a_fifth_despite_noise(seed: int) -> None:
    chance = random.Random(seed)
    probes = {name: chance.gauss(0.6, 0.05) for name in TRUE}  # 40 % too short, and 8 % off from each other

    def noisy(name: str, size: int) -> float:
        return linear(name, size) * chance.gauss(1.0, 0.05)

    sweep = Sweep(layers(probe=probes.__getitem__), noisy, storing=0.05, logging=0.02).run()
    assert max(abs(error) for error in sweep.errors()[:-1]) < 0.2
