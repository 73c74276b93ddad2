"""An executor for tests, whose workers stay from sweep to sweep, because each takes seconds to import what it needs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray

from readout.executors import Desk, Job, Ray, Report, Watch
from readout.executors.cluster import Cluster


class Kept(Ray):
    """Workers of a running cluster that are sent the work of each sweep.

    Args:
        address: Address of the cluster.
        losses: See :class:`Ray`.
    """

    def __init__(self, address: str, losses: int = 3) -> None:
        super().__init__(address, gpus=0, cpus=1, losses=losses)
        self.sees_folder = True
        """Whether workers see the output folder."""
        self.reports: list[Report] = []
        """Those of the last sweep."""
        self.at_report: Callable[[Report], None] = lambda report: None
        """Called with each."""

    @contextmanager
    def opened(self, work: Any) -> Iterator[None]:
        if self._cluster is None:
            self._cluster = Cluster(self, None)
        if not self.sees_folder:
            work = replace(work, claim="of another folder")
        self._sent = ray.put(work)
        self.reports.clear()
        yield
        self._cluster.shared.clear()

    def run(self, take: Callable[[], Job | None], watch: Watch) -> Iterator[tuple[Job, Any]]:
        def relayed() -> Job | None:
            job = take()
            return None if job is None else Relayed(job, self._sent)

        def report(told: Report) -> None:
            self.reports.append(told)
            watch.report(told)
            self.at_report(told)

        for job, answer in super().run(relayed, replace(watch, report=report)):
            assert isinstance(job, Relayed)
            yield job.job, answer

    def close(self) -> None:
        """End the workers; the next sweep starts others."""
        if self._cluster is not None:
            self._cluster.leave()
            self._cluster = None


class Relayed(Job):
    """A job with a reference to the work that it needs, which a worker fetches once."""

    def __init__(self, job: Job, work: Any) -> None:
        self.name, self.layer, self.shared = job.name, job.layer, job.shared
        self.job, self.work = job, [work]

    def do(self, work: None, desk: Desk, shared: Any) -> Any:
        if _FETCHED[:1] != self.work:
            _FETCHED[:] = [self.work[0], ray.get(self.work[0])]
        return self.job.do(_FETCHED[1], desk, shared)


_FETCHED: list[Any] = []
"""Reference and value of the work of the last sweep, in a worker."""
