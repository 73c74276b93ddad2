"""The base class of executors, and what a job and its surroundings tell each other."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from readout.common.signals import Stop

if TYPE_CHECKING:  # the board does without Lightning, whose import takes seconds
    from lightning.pytorch.loggers import Logger


@dataclass(frozen=True)
class Report:
    """How far a running job is."""

    job: str
    """Its name."""
    step: int
    steps: int
    """Most steps that it takes."""
    first: int = 0
    """Step from which it went on here."""
    seconds: float = 0.0
    """Time since then."""
    before: float = 0.0
    """Seconds that an interrupted process put into it."""
    words: str = ""


@dataclass(frozen=True)
class Desk:
    """The surroundings of a job where it runs."""

    stop: Stop
    """Asked between steps."""
    report: Callable[[Report], None]
    say: Callable[[str], None]
    """Prints a sentence where the user sees it."""
    loggers: Sequence["Logger"] = ()
    """Open loggers; empty away from the process that holds them."""
    report_seconds: float = 0.25
    """Time between two reports."""
    free_memory: int | None = None
    """Bytes that batches must fit; None for what is free here."""


class Job(ABC):
    """A piece of work of one sweep; it is pickled if it runs in another process."""

    name: str
    """Unique among the jobs that run at the same time."""
    layer: str
    shared: str | None = None
    """Name of the shared value that it needs; see :meth:`Executor.share`."""

    @abstractmethod
    def do(self, work: Any, desk: Desk, shared: Any) -> Any:
        """Do the work and return its result.

        Args:
            work: What all jobs of the sweep need.
            desk: What it finds where it runs.
            shared: The value called :attr:`shared`.

        Raises:
            Stopped: if a stop was asked for before the end; what can be saved was saved.
        """


@dataclass(frozen=True)
class Watch:
    """Callbacks of the process that hands out jobs, and its request to stop."""

    stop: Stop
    report: Callable[[Report], None]
    say: Callable[[str], None]
    loggers: Callable[[Job], Sequence["Logger"]] = lambda job: ()
    """Opens the loggers of a job; called only if it runs in this process."""
    lost: Callable[[Job], None] = lambda job: None
    """Told when a job has lost its worker and will start again."""


@dataclass(frozen=True)
class Lost:
    """In place of the result of a job that lost its worker too often."""

    times: int


class Executor(ABC):
    """Where the jobs of a sweep run.

    Jobs are asked for one by one, whenever a worker is free, so that an executor never holds more jobs than workers.
    """

    elsewhere: ClassVar[bool] = False
    """Whether jobs run in other processes, without loggers."""

    @property
    def size(self) -> int:
        """Jobs that run at the same time, as far as it is known."""
        return 1

    @abstractmethod
    def opened(self, work: Any) -> AbstractContextManager[None]:
        """Hold workers ready inside the context.

        Args:
            work: What all jobs need.

        Raises:
            ReadoutError: if there are none, or ``work`` can't be sent to them.
        """

    @abstractmethod
    def share(self, name: str, value: Any) -> None:
        """Provide a value for the jobs that name it."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Return whether there is a shared value of this name."""

    @abstractmethod
    def forget(self, name: str) -> None:
        """Drop a shared value, if there is one of this name."""

    @abstractmethod
    def run(self, take: Callable[[], Job | None], watch: Watch) -> Iterator[tuple[Job, Any]]:
        """Run jobs and yield each with its result, in the order in which they end.

        Args:
            take: Returns the next job; None if there is none now. There may be one again after a result was taken.
            watch: What this process provides.

        Yields:
            A job with its result, or with :class:`Lost`.

        Raises:
            Stopped: if a stop was asked for, after running jobs have saved what they could.
            ReadoutError: from a job.
        """
