"""Processes that work in turns, so that other load on the machine affects all sides alike."""

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


class Refused(Exception):  # noqa: N818 (a missing peer is not an error)
    """A refusal of work that a side can't do here, with the reason in one sentence."""


@dataclass(frozen=True)
class Pacing:
    """Number and duration of turns."""

    rounds: int = 9
    """Turns per side."""
    seconds: float = 0.5
    """Least duration of a turn, which has at least one step."""


@dataclass
class Measured:
    """Measurements of one side's turns."""

    work: Work
    facts: dict[str, Any]
    turns: list[dict[str, Any]] = field(default_factory=list)

    @property
    def problems(self) -> int:
        """Problems per batch."""
        return int(self.facts["problems"])

    def milliseconds(self, clock: str = "wall") -> list[float]:
        """Return each turn's time per step and problem; ``clock`` is ``wall`` or ``cpu`` (sum over cores)."""
        return [1e3 * turn[clock] / turn["steps"] / self.problems for turn in self.turns]

    def part(self, name: str) -> float:
        """Return the median share of a turn's time spent on a part of a step."""
        return float(statistics.median(turn["parts"].get(name, 0.0) / turn["wall"] for turn in self.turns))

    @property
    def peak_bytes(self) -> int:
        """Peak memory of the process."""
        return int(self.turns[-1]["peak_bytes"])


class Worker:
    """The process of one side."""

    def __init__(self, work: Work, threads: int) -> None:
        self.work = work
        # brief spinning: otherwise waiting threads would slow the other side down
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
        with self._process as process:  # closes all pipes and waits
            assert process.stdin is not None
            process.stdin.close()
        self._said.close()

    def hear(self) -> dict[str, Any]:
        """Return the next message of the process.

        Raises:
            Refused: if the side can't do the work.
            RuntimeError: if the process failed.
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
        """Run a number of steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return self.hear()


def measure(works: Sequence[Work], pacing: Pacing, threads: int) -> list[Measured]:
    """Let several sides do their work in turns.

    Args:
        works: Work of each side; the order alternates between rounds.
        pacing: Number and duration of turns.
        threads: Threads of each process; only one process works at a time.

    Raises:
        Refused: if a side can't do its work here.
        RuntimeError: if a process failed.
    """
    workers: list[Worker] = []
    try:
        found = []
        for work in works:  # started one by one, because each plans by the free memory
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
    """Return the first quartile, the median and the third quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, middle, third


def ratios(slow: Measured, fast: Measured, clock: str = "wall") -> list[float]:
    """Return the ratio of the first side's time to the second's, round by round."""
    return [a / b for a, b in zip(slow.milliseconds(clock), fast.milliseconds(clock), strict=True)]


def _calibrated(worker: Worker, seconds: float) -> int:
    """Warm up, and find the number of steps that fill a turn."""
    worker.turn(2)
    took: float = worker.turn(1)["wall"]
    return max(1, round(seconds / took))
