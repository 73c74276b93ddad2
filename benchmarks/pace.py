"""Pace: a side's loop runs for as many steps as the driver asks for, and tells what they took."""

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
    """Called at the start of every step; waits there for the driver between turns.

    Args:
        problems: Problems that each step advances.
        device: Where the work runs.
        facts: What the driver should know before the first turn.
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
        """Book time on a part of a step."""
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
        if not order:  # the driver is done, and nothing here is worth an orderly end
            os._exit(0)
        self._steps = self._left = int(order)
        self.parts = {}
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def tell(message: dict[str, Any]) -> None:
    """One line to the driver; it knows it from anything a library prints."""
    print(f"@{json.dumps(message)}", flush=True)


def resident_bytes() -> int:
    """Memory this process holds now; its peak is counted anew from here, where the system allows that."""
    if LINUX:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int:
    """Most memory this process held since :func:`resident_bytes`; on other systems than Linux, ever."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if LINUX else 1)
