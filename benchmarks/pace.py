"""Run a side's loop for as many steps as the driver asks for, and report their time."""

import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch

LINUX = sys.platform == "linux"


class Pace:
    """A callable for the start of every step, which waits for the driver between turns.

    Args:
        problems: Problems per step.
        device: Device of the work.
        facts: Facts for the driver before the first turn.
    """

    def __init__(self, problems: int, device: str = "cpu", **facts: Any) -> None:
        self.problems = problems
        self.device = torch.device(device)
        self.facts = facts
        self.parts: dict[str, float] = {}
        self._left = -1

    def __call__(self) -> None:
        """Start a step."""
        if self._left <= 0:
            self._synchronise()
            tell({"problems": self.problems, **self.facts} if self._left < 0 else self._turn())
            self._wait()
        self._left -= 1

    def add(self, part: str, seconds: float) -> None:
        """Add time to a part of a step."""
        self.parts[part] = self.parts.get(part, 0.0) + seconds

    def _turn(self) -> dict[str, Any]:
        return {
            "steps": self._steps,
            "wall": time.perf_counter() - self._wall,
            "cpu": time.process_time() - self._cpu,
            "parts": self.parts,
            "peak_bytes": peak_bytes(),
        }

    def _wait(self) -> None:
        order = sys.stdin.readline()
        if not order:  # the driver is done, and nothing here needs cleanup
            os._exit(0)
        self._steps = self._left = int(order)
        self.parts = {}
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def tell(message: dict[str, Any]) -> None:
    """Send one line to the driver, marked so that it differs from output of libraries."""
    print(f"@{json.dumps(message)}", flush=True)


def resident_bytes() -> int:
    """Return the memory of this process, and reset its peak where the system allows that."""
    if LINUX:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int:
    """Return the peak memory since :func:`resident_bytes`; except on Linux, since the start of the process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if LINUX else 1)
