import io
import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from readout.common.signals import Stop
from readout.executors import Desk, Report
from readout.perturbations import GaussianPerturbation
from readout.priors import Pixels
from readout.problems import cross
from readout.readouts import ImageInversion
from readout.readouts.run import make_batch
from readout.sweep.plan import LayerPlan, Plan, duration, size_in_words, unfinished
from readout.sweep.probe import Cost
from readout.sweep.progress import SweepProgress
from readout.sweep.reporter import Reporter
from readout.sweep.schedule import Batch
from tests.helpers import runtime
from tests.tiny import TinyNet

CPU = "cpu"
PROBLEMS = cross("s", [("a", "1"), ("b", "2")], "early", [0.0, 0.5, 0.9], draws=1, seed=0)


def plan(*costs: float, finished: int = 0) -> Plan:
    left = unfinished(PROBLEMS, 4, {problem.key for problem in PROBLEMS[:finished]})
    rest = len(PROBLEMS) - finished
    layers = [
        LayerPlan(f"layer {i}", PROBLEMS, left, Cost(0.0, cost, 2**20, CPU), finished, rest, rest, batch_size=4)
        for i, cost in enumerate(costs)
    ]
    return Plan("title", layers, 100, Path("out"))


def test_estimated_time_is_cost_times_steps_times_problems_left() -> None:
    assert plan(0.01, 0.02).seconds == pytest.approx(100 * 6 * 0.03)
    assert plan(0.01, finished=4).seconds == pytest.approx(100 * 2 * 0.01)
    (layer,) = plan(0.01, finished=4).layers
    slow_to_move = replace(layer, cost=replace(layer.cost, setup_seconds=3.0))  # once per problem, not per step
    assert replace(plan(), layers=[slow_to_move]).seconds == pytest.approx(2 * 3.0 + 100 * 2 * 0.01)


def test_batches_are_formed_before_finished_problems_leave_them() -> None:
    finished = {PROBLEMS[0].key, PROBLEMS[4].key, PROBLEMS[5].key}
    assert unfinished(PROBLEMS, 4, finished) == [PROBLEMS[1:4]]
    assert unfinished(PROBLEMS, 4, set()) == [PROBLEMS[:4], PROBLEMS[4:]]


def test_the_plan_is_printed_with_its_numbers() -> None:
    console = Console(file=io.StringIO(), width=120)
    plan(0.01, finished=4).show(console, {"inputs": "2 of 3×8×8"})
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert "2 of 3×8×8" in printed
    assert "100 each, 200 in all" in printed
    assert "about 2 s on cpu" in printed


def test_a_search_is_planned_at_most_and_counted_by_what_it_took() -> None:
    console = Console(file=io.StringIO(), width=120)
    layers = [replace(layer, least=4) for layer in plan(1.0, 1.0).layers]
    searched = replace(plan(), layers=layers, search="bisection")
    searched.show(console, {})
    clock = itertools.count(0, 25)  # seconds between two looks at it
    with SweepProgress(searched, console, quiet_seconds=0, clock=lambda: float(next(clock))) as progress:
        for layer in searched.layers:
            batch = Batch(layer.layer, layer.batches[0])  # four of its six problems
            progress.start(batch)
            progress.done(batch)
            progress.layer_done(layer)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert "100 each, at most 1,200 in all" in printed
    assert "4/10 inversions" in printed
    assert "0 s to 12 s left" in printed  # at most two more of the first layer, of which four took 25 s
    assert "100%  8/8 inversions · done" in printed


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(9.6, "10 s"), (200, "3 min 20 s"), (3600 * 5 + 60 * 12, "5 h 12 min"), (86400 * 12, "12 days")],
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_plain_lines_are_printed_where_there_is_no_terminal() -> None:
    console = Console(file=io.StringIO(), width=100)
    one = plan(0.01)
    with SweepProgress(one, console, quiet_seconds=0) as progress:
        inversion = ImageInversion(TinyNet(), Pixels(), metrics=[])
        inputs = {name: torch.rand(3, 8, 8) for name in "ab"}
        desk = Desk(Stop(), progress.report, print, report_seconds=0)
        for problems in one.layers[0].batches:
            batch = Batch("layer 0", problems)
            progress.start(batch)
            inversion.load(make_batch(problems, inputs, GaussianPerturbation()))
            runtime(3).make_trainer([], Reporter(desk, batch.name)).fit(inversion, range(3))
            progress.done(batch)
        progress.layer_done(one.layers[0])
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert re.search(r"0/6 inversions · layer 0 at levels 0–0.9 · step 1 of 3 · d_X \d.*left, a first guess$", lines[0])
    assert re.search(r"d_X \d\.\d{3} \(\d\.\d\d–\d\.\d\d\) · [\d.]+ steps/s · [\w ]+ left$", lines[-4])
    assert lines[-1].startswith("100%  6/6 inversions · done in")


def test_batches_that_run_at_the_same_time_are_counted_and_a_lost_one_again() -> None:
    console = Console(file=io.StringIO(), width=100)
    one = plan(1.0)
    first, second = (Batch("layer 0", problems) for problems in one.layers[0].batches)
    with SweepProgress(one, console, lambda: 2, quiet_seconds=0, clock=lambda: 0.0) as progress:
        progress.start(first)
        progress.start(second)
        progress.report(Report(second.name, 50, 100, seconds=10.0))
        progress.lost(second.name)
        progress.done(first)
        progress.report(Report(first.name, 100, 100))  # late; its batch is done
        progress.done(second)
        progress.layer_done(one.layers[0])
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert re.search(r"0/6 inversions · 2 at once · layer 0 .* · step 50 of 100 · 5.0 steps/s · .* left", lines[0])
    assert [line.split(" · ")[0] for line in lines[1:]] == [
        " 67%  4/6 inversions",
        "100%  6/6 inversions",
        "100%  6/6 inversions",
        "100%  6/6 inversions",
    ]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([torch.zeros(3, 8, 16)] * 2, "3×8×16"),
        ([torch.tensor([1, 2]), torch.tensor([1]), torch.tensor([3, 4, 5])], "1 to 3 tokens"),
        ([torch.tensor([1, 2])] * 2, "2 tokens"),
    ],
)
def test_sizes_of_inputs_in_words(inputs: list[torch.Tensor], words: str) -> None:
    assert size_in_words(inputs) == words
