"""Here: an executor that runs one job after the other in this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from readout.executors.base import Desk, Executor, Job, Watch


class Here(Executor):
    """Runs one job after the other in this process."""

    _work: Any
    _shared: dict[str, Any]

    @contextmanager
    def opened(self, work: Any) -> Iterator[None]:
        """See :class:`Executor`."""
        self._work, self._shared = work, {}
        try:
            yield
        finally:
            del self._work, self._shared

    def share(self, name: str, value: Any) -> None:
        """See :class:`Executor`."""
        self._shared[name] = value

    def has(self, name: str) -> bool:
        """See :class:`Executor`."""
        return name in self._shared

    def forget(self, name: str) -> None:
        """See :class:`Executor`."""
        self._shared.pop(name, None)

    def run(self, take: Callable[[], Job | None], watch: Watch) -> Iterator[tuple[Job, Any]]:
        """See :class:`Executor`."""
        while job := take():
            watch.stop.check()
            desk = Desk(watch.stop, watch.report, watch.say, watch.loggers(job))
            yield job, job.do(self._work, desk, self._shared[job.shared] if job.shared else None)
