"""Time of a whole sweep on many workers, simulated from measured times of a step and of the process that stores."""

import heapq
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import bookkeeping, synthetic
from benchmarks.options import Options
from benchmarks.table import Table
from readout.store import ResultStore

WORKERS = (1, 8, 64)


@dataclass(frozen=True)
class Sweep:
    """A sweep, as far as it decides how long it takes."""

    name: str
    inputs: int
    side: int
    """Side of the images, in pixels."""
    steps: int
    step_seconds: float
    """Of one step, per problem: docs/benchmarks.md."""
    batch: int = 256
    levels: int = 11
    layers: int = 16

    @property
    def problems(self) -> int:
        """Number of problems."""
        return self.inputs * self.levels * self.layers


SWEEPS = (
    Sweep("the paper's figure", inputs=64, side=224, steps=10_000, step_seconds=0.80e-3),
    Sweep("the paper's figure", inputs=64, side=224, steps=10_000, step_seconds=0.80e-3, batch=64),
    Sweep("a survey", inputs=5681, side=64, steps=150, step_seconds=0.20e-3),
)


def run(options: Options) -> Table:
    """Measure what the driver spends on a batch, and simulate sweeps on 1, 8 and 64 workers."""
    table = Table("Sweeps on many workers, simulated")
    table.note(
        "Steps take what one H200 took (0.80 ms per step and problem at 224 pixels in bf16, 0.20 ms at 64 in float32); "
        "the driver takes what it took here, writing included. Start, probes and the page are left out."
    )
    for sweep in SWEEPS:
        driver = driver_seconds(sweep, inputs=6 if options.quick else 568)
        for workers in WORKERS:
            seconds, busy = simulate(sweep, workers, driver)
            found = {"hours": seconds / 3600, "driver busy": busy}
            table.add(sweep=sweep.name, batch=sweep.batch, workers=workers, **found)
        alone = sweep.batch * sweep.steps * sweep.step_seconds
        table.note(
            f"{sweep.name}, batches of {sweep.batch}: a batch takes a worker {alone:,.0f} s and the driver "
            f"{driver:.2f} s, which is busy all the time from {alone / driver + 1:,.0f} workers on."
        )
    return table


def simulate(sweep: Sweep, workers: int, driver_seconds: float) -> tuple[float, float]:
    """Return the seconds of a sweep, and the share of them in which the driver works.

    Workers ask for a batch, read it and hand it in. The driver stores one answer at a time, in the order in which they
    come, and then gives that worker its next batch.

    Args:
        sweep: The sweep.
        workers: Number of workers.
        driver_seconds: Time that the driver spends on a full batch.

    Examples:
        Two workers and a driver that takes no time: four batches of 10 s take 20 s.

        >>> four = Sweep("four batches", inputs=4, side=64, steps=10, step_seconds=1.0, batch=1, levels=1, layers=1)
        >>> simulate(four, workers=2, driver_seconds=0.0)
        (20.0, 0.0)
        >>> simulate(four, workers=2, driver_seconds=30.0)  # the driver decides
        (130.0, 0.923...)
    """
    per_layer = sweep.inputs * sweep.levels
    sizes = [min(sweep.batch, per_layer - start) for start in range(0, per_layer, sweep.batch)] * sweep.layers
    left, free, busy = sizes[::-1], 0.0, 0.0
    handed_in: list[tuple[float, int]] = []
    for _ in range(min(workers, len(sizes))):
        size = left.pop()
        heapq.heappush(handed_in, (size * sweep.steps * sweep.step_seconds, size))
    while handed_in:
        came, size = heapq.heappop(handed_in)
        took = driver_seconds * size / sweep.batch
        free, busy = max(free, came) + took, busy + took
        if left:
            size = left.pop()
            heapq.heappush(handed_in, (free + size * sweep.steps * sweep.step_seconds, size))
    return free, busy / free


def driver_seconds(sweep: Sweep, inputs: int) -> float:
    """Measure the CPU seconds that the driver spends on a full batch: bookkeeping, and writing images of this size.

    Args:
        sweep: The sweep.
        inputs: Inputs of the sweep in which bookkeeping is measured.
    """
    with tempfile.TemporaryDirectory() as folder:
        driver = bookkeeping.make_driver(Path(folder) / "sweep", inputs, "grid")
        with driver.working():
            plan = driver.plan(bookkeeping.QUIET)
        kept = bookkeeping.run(driver, plan)["bookkeeping ms"] / 1000
        problems = next(synthetic.problems(-(-sweep.batch // len(synthetic.LEVELS))))[: sweep.batch]
        table = synthetic.results(problems, 0)
        images = list(torch.rand(len(problems), 3, sweep.side, sweep.side))
        started = time.process_time()
        ResultStore(Path(folder) / "written").append(table, images, ())
        return kept * sweep.batch / bookkeeping.BATCH + time.process_time() - started
