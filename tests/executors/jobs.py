"""Jobs without a sweep, and a watch over them."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray

from readout.common.signals import Stop
from readout.executors import Desk, Job, Watch

WATCH = Watch(Stop(), lambda report: None, print)


def one_by_one(jobs: Sequence[Job]) -> Callable[[], Job | None]:
    """What hands out these jobs."""
    left = iter(jobs)
    return lambda: next(left, None)


class Where(Job):
    """Says on which node it runs."""

    layer = ""

    def __init__(self, name: int) -> None:
        self.name = str(name)

    def do(self, work: None, desk: Desk, shared: None) -> Any:
        time.sleep(0.1)
        return ray.get_runtime_context().get_node_id()


class DiesLater(Where):
    """Ends its process once it has answered, with the number of that process."""

    def do(self, work: None, desk: Desk, shared: None) -> Any:
        time.sleep(1)  # so that each worker does one
        threading.Timer(1.0, os._exit, [1]).start()
        return os.getpid()


class Fails(Job):
    """Raises an error."""

    name = layer = ""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def do(self, work: None, desk: Desk, shared: None) -> None:
        raise self.error
