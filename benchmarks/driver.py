"""Processes that work at the driver's pace, in turns, so that whatever else the machine does hits all of them alike."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from typing_extensions import Self

from benchmarks.work import Work

ROOT = Path(__file__).parent.parent


class Refused(Exception):  # noqa: N818 (a peer that is not there is no error)
    """A side can't do the work here; says why in one sentence."""


@dataclass(frozen=True)
class Pacing:
    """How long to measure."""

    rounds: int = 9
    """Turns of each side."""
    seconds: float = 0.5
    """A turn takes at least so long, and at least one step."""


@dataclass
class Measured:
    """What the turns of one side took."""

    work: Work
    facts: dict[str, Any]
    turns: list[dict[str, Any]] = field(default_factory=list)

    @property
    def problems(self) -> int:
        """Problems side by side."""
        return int(self.facts["problems"])

    def milliseconds(self, clock: str = "wall") -> list[float]:
        """Of each turn, the time for one step of one problem; ``clock`` is ``wall`` or ``cpu`` (of all cores)."""
        return [1e3 * turn[clock] / turn["steps"] / self.problems for turn in self.turns]

    def part(self, name: str) -> float:
        """Share of the time that a part of a step takes, the median turn's."""
        return float(statistics.median(turn["parts"].get(name, 0.0) / turn["wall"] for turn in self.turns))

    @property
    def peak_bytes(self) -> int:
        """Most memory that the process held."""
        return int(self.turns[-1]["peak_bytes"])


class Worker:
    """One side's process."""

    def __init__(self, work: Work, threads: int) -> None:
        self.work = work
        # briefly spinning threads: beside another busy process they would stall either side
        settings = {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "1000", "PYTHONWARNINGS": "ignore"}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in __exit__)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", json.dumps(work.as_dict())],
            env={**os.environ, **settings, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process as process:  # closes all pipes, and waits
            assert process.stdin is not None
            process.stdin.close()
        self._said.close()

    def hear(self) -> dict[str, Any]:
        """What it says next.

        Raises:
            Refused: if it can't do the work.
            RuntimeError: if it broke.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("@"):
                message: dict[str, Any] = json.loads(line[1:])
                if "refused" in message:
                    raise Refused(message["refused"])
                return message
        self._said.seek(0)
        raise RuntimeError(f"{self.work} broke:\n{self._said.read()[-2000:]}")

    def turn(self, steps: int) -> dict[str, Any]:
        """Let it do so many steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return self.hear()


def measure(works: Sequence[Work], pacing: Pacing, threads: int) -> list[Measured]:
    """Let several sides do their work in turns.

    Args:
        works: What each is to do; the order alternates from round to round.
        pacing: How long.
        threads: Of each process; only one works at a time.

    Raises:
        Refused: if one of them can't do its work here.
        RuntimeError: if one broke.
    """
    workers: list[Worker] = []
    try:
        found = []
        for work in works:  # one starts after the other: each plans by the memory that is free
            workers.append(Worker(work, threads))
            found.append(Measured(work, workers[-1].hear()))
        steps = [_calibrated(worker, pacing.seconds) for worker in workers]
        for lap in range(pacing.rounds):
            for place in sorted(range(len(works)), reverse=bool(lap % 2)):
                found[place].turns.append(workers[place].turn(steps[place]))
        return found
    finally:
        for worker in workers:
            worker.__exit__(None, None, None)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median and third."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, middle, third


def ratios(slow: Measured, fast: Measured, clock: str = "wall") -> list[float]:
    """How many times as long the first takes as the second, round by round."""
    return [a / b for a, b in zip(slow.milliseconds(clock), fast.milliseconds(clock), strict=True)]


def _calibrated(worker: Worker, seconds: float) -> int:
    """Warm up, and find the number of steps that fill a turn."""
    worker.turn(2)
    took: float = worker.turn(1)["wall"]
    return max(1, round(seconds / took))
