import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from readout.data import Sample, Samples
from readout.extractors import FeatureExtractor
from readout.perturbations import GaussianPerturbation
from readout.priors import Pixels
from readout.problems import cross
from readout.readouts import Identification, ImageInversion, ProblemBatch
from readout.readouts.run import make_batch
from readout.sweep.probe import FEW, BatchSize, Cost, _PassTimer, _StepTimer, automatic_batch_size, probe
from tests.helpers import runtime
from tests.tiny import TinyNet

CPU = "cpu"


PROBLEMS = cross("s", [("a", "1"), ("b", "2")], "only", [0.0, 0.1, 0.5, 0.9], draws=5, seed=0)


def test_probing_measures_time_and_what_backward_keeps() -> None:
    class Wide(FeatureExtractor):
        def __init__(self) -> None:
            super().__init__(nn.Sequential(nn.Conv2d(3, 64, 1), nn.ReLU(), nn.Conv2d(64, 64, 1)), {"only": "2"})

    inputs = {name: torch.rand(3, 32, 32) for name in "ab"}
    batch = partial(make_batch, inputs=inputs, perturbation=GaussianPerturbation())
    cost, size = probe(ImageInversion(Wide(), Pixels()), PROBLEMS[:4], batch, 8, runtime(1000))
    assert size == 8
    assert cost.problem_seconds > 0
    assert cost.fixed_seconds == 0  # four problems only, so there is one measurement
    # kept a problem: the ReLU's output and the difference in the loss, 64 × 32 × 32 floats each, and little else
    assert 2 <= cost.problem_bytes / (64 * 32 * 32 * 4) < 3


class Steps:
    """Steps on a machine whose times are known."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Callable[[int], float]) -> None:
        self.seconds, self.tried = seconds, list[int]()
        monkeypatch.setattr("readout.sweep.probe._timed", self)

    def __call__(self, inversion: Any, problems: ProblemBatch, *_: Any) -> _StepTimer:
        self.tried.append(len(problems))
        timer = _StepTimer()
        timer.times, timer.bytes = [self.seconds(len(problems))], 10 * len(problems)
        return timer

    def probe(self, size: BatchSize) -> tuple[Cost, int]:
        inputs = {name: torch.rand(3, 8, 8) for name in "ab"}
        batch = partial(make_batch, inputs=inputs, perturbation=GaussianPerturbation())
        return probe(ImageInversion(TinyNet(), Pixels()), PROBLEMS, batch, size, runtime(3))


def test_a_full_batch_is_timed_too_because_problems_may_run_in_parallel(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch, lambda problems: 0.1 + 0.01 * problems)
    cost, size = steps.probe(32)
    assert (steps.tried, size) == ([FEW, 32], 32)
    assert [cost.seconds(n) for n in (0, 1, 4, 32)] == pytest.approx([0, 0.11, 0.14, 0.42])
    assert cost.problem_bytes == 10
    assert steps.probe("auto")[1] == 16
    assert steps.tried[-1] == 16


def test_the_time_before_the_first_step_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    class Slow(GaussianPerturbation):
        def direction(self, *given: Any) -> torch.Tensor:
            clock[0] += 6
            return super().direction(*given)

    class Clock:
        @staticmethod
        def perf_counter() -> float:
            return clock[0]

    monkeypatch.setattr("readout.sweep.probe.time", Clock)
    batch = partial(make_batch, inputs={"a": torch.rand(3, 16, 16)}, perturbation=Slow())
    problems = cross("s", [("a", "1")], "early", [0.1, 0.5, 0.9], draws=4, seed=0)
    cost, _ = probe(ImageInversion(TinyNet(), Pixels()), problems, batch, 12, runtime(3))
    # a direction serves all levels of its draw: four of them for twelve problems
    assert (cost.setup_seconds, cost.problem_seconds) == (4 * 6 / 12, 0)


def test_where_times_contradict_each_other_those_of_the_full_batch_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    disturbed, _ = Steps(monkeypatch, lambda problems: 0.6 if problems == FEW else 0.01 * problems).probe(32)
    assert [disturbed.seconds(32), disturbed.problem_seconds] == pytest.approx([0.32, 0])
    steeper, _ = Steps(monkeypatch, lambda problems: 1e-3 * problems**2).probe(32)
    assert [steeper.seconds(32), steeper.fixed_seconds] == pytest.approx([1.024, 0])


def test_a_full_batch_of_very_slow_steps_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch, lambda problems: 1.0 * problems)
    assert steps.probe(16)[0].seconds(16) == 16
    assert steps.tried == [FEW]


def test_the_automatic_batch_size_is_a_power_of_two_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        available = 1000

    monkeypatch.setattr("readout.sweep.probe.psutil.virtual_memory", Memory)
    assert automatic_batch_size(1, CPU, {"cpu": 16}) == 16
    assert automatic_batch_size(100, CPU, {"cpu": 16}) == 4
    assert automatic_batch_size(10_000, CPU, {"cpu": 16}) == 1


def test_memory_on_cuda_is_this_fits_own_and_leaves_the_network_out(monkeypatch: pytest.MonkeyPatch) -> None:
    peak = {"bytes": 10**9}  # what an earlier layer left
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: peak.update(bytes=0))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peak["bytes"])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    inversion = ImageInversion(TinyNet(), Pixels())
    monkeypatch.setattr(ImageInversion, "device", torch.device("cuda"))
    network = sum(parameter.numel() * 4 for parameter in inversion.extractor.parameters())
    inversion.prior.initialise([0], torch.Size([3, 8, 8]))
    timer, trainer = _StepTimer(), runtime(3).make_bare_trainer()
    timer.on_train_batch_start(trainer, inversion)
    peak["bytes"] += network + 1234
    timer.on_train_batch_end(trainer, inversion)
    timer.on_train_end(trainer, inversion)
    assert timer.bytes == 1234


class Interrupted(Pixels):
    """Sends a signal to this process when it is first asked for an image."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.numbers = [number]

    def forward(self) -> torch.Tensor:
        if self.numbers:
            os.kill(os.getpid(), self.numbers.pop())
        return super().forward()


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_while_probing_goes_to_whoever_listened_before(number: int, raised: type[BaseException]) -> None:
    def leave(*_: object) -> None:
        raise raised("heard")

    before = signal.signal(number, leave)
    batch = partial(
        make_batch, inputs={name: torch.rand(3, 8, 8) for name in "ab"}, perturbation=GaussianPerturbation()
    )
    try:
        with pytest.raises(raised):
            probe(ImageInversion(Early(), Interrupted(number)), PROBLEMS[:1], batch, 1, runtime(10))
    finally:
        signal.signal(number, before)


class Early(FeatureExtractor):
    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Conv2d(3, 4, 1)), {"only": "0"})


def test_what_a_readout_prepares_once_is_no_part_of_its_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {name: torch.rand(3, 8, 8) for name in "ab"}
    readout = Identification(TinyNet())
    readout.meet(Samples.of(Sample(name, image) for name, image in inputs.items()), None)
    events: list[str] = []

    def told(event: str, of: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            events.append(event)
            return of(*given)

        return call

    monkeypatch.setattr(readout, "_candidate_features", told("prepared", readout._candidate_features))
    monkeypatch.setattr(_PassTimer, "on_predict_batch_start", told("pass", _PassTimer.on_predict_batch_start))
    batch = partial(make_batch, inputs=inputs, perturbation=GaussianPerturbation())
    probe(readout, cross("s", [("a", "1"), ("b", "2")], "early", [0.0, 0.5], draws=1, seed=0), batch, 4, runtime(1))
    assert events == ["pass", "prepared", "pass"]  # the last one is the one that counts
