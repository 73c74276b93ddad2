"""Worker: the actor of a Ray cluster that does jobs."""

import platform
import signal
from dataclasses import dataclass
from typing import Any

import psutil
import ray
import torch

from readout.common.errors import user_error
from readout.common.memory import keep_freed_memory
from readout.common.signals import Handlers, Stop, Stopped, handlers, set_handlers
from readout.common.software import versions
from readout.executors.base import Desk, Job, Report

REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class Facts:
    """Node, software and free memory of a worker."""

    node: str
    versions: dict[str, str]
    free_memory: int
    """Bytes of main memory."""
    free_gpu: int
    """Bytes of the GPU's memory; 0 without one."""
    device: str


@dataclass(frozen=True)
class Refused:
    """In place of a result: an error that the user can correct."""

    sentence: str


class Worker:
    """Does one job after the other.

    Args:
        work: What all jobs need.
        board: Handle of the :class:`readout.executors.board.Board`.
        threads: Threads of PyTorch; Ray would set as many as the worker has cores, and the last digits depend on it.
    """

    def __init__(self, work: Any, board: Any, threads: int) -> None:
        torch.set_num_threads(threads)
        keep_freed_memory()
        self._work, self._board = work, board
        self._shared: tuple[Any, Any] = (None, None)

    def facts(self) -> Facts:
        """Say what this worker is and has."""
        gpu = torch.cuda.is_available()
        return Facts(
            node=ray.get_runtime_context().get_node_id(),
            versions=versions(),
            free_memory=psutil.virtual_memory().available,
            free_gpu=torch.cuda.mem_get_info()[0] if gpu else 0,
            device=torch.cuda.get_device_name() if gpu else platform.processor() or "cpu",
        )

    def do(self, job: Job, shared: list[Any], free_memory: int | None) -> Any:
        """Do a job; return its result, :class:`Refused`, or the sentence of a stop."""
        for ref in shared:
            if self._shared[0] != ref:
                self._shared = ref, ray.get(ref)
        line = _Line(self._board)
        desk = Desk(line.stop, line.tell, line.say, report_seconds=REPORT_SECONDS, free_memory=free_memory)
        try:
            return job.do(self._work, desk, self._shared[1] if shared else None)
        except Stopped as stopped:
            return stopped
        except Exception as error:
            refused = user_error(error)
            if refused is None:
                raise
            return Refused(str(refused))


class _ToldToStop(Stop):
    """A request to stop that comes from the board; signals of this process stay Ray's."""

    def __init__(self) -> None:
        super().__init__()
        self._before: Handlers = handlers()

    def listen(self) -> None:
        set_handlers(self._before)


class _Line:
    """A job's line to the board; it does not wait for replies to reports."""

    def __init__(self, board: Any) -> None:
        self.stop = _ToldToStop()
        self._board = board
        self._reply: Any = None

    def tell(self, report: Report) -> None:
        if self._reply is not None:
            answered, _ = ray.wait([self._reply], timeout=0)
            if not answered:
                return
            if ray.get(self._reply):
                self.stop.asked = signal.SIGTERM
        self._reply = self._board.tell.remote(report)

    def say(self, sentence: str) -> None:
        ray.get(self._board.say.remote(sentence))  # it must be there before the job's result is
