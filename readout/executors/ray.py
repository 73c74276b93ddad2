"""Ray: an executor whose workers are actors of a Ray cluster, on this machine or on many."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from readout.common.checks import check_number, check_whole
from readout.common.errors import ReadoutError
from readout.executors.base import Executor, Job, Watch

if TYPE_CHECKING:
    from readout.executors.cluster import Cluster


class Ray(Executor):
    """Runs jobs on workers of a Ray cluster; needs ``pip install 'readout[ray]'``.

    Without a cluster it starts one on this machine, with a worker per GPU, or per ``cpus`` cores where there is no GPU.
    The environment variable ``RAY_ADDRESS`` names a cluster to join. Nodes may join and leave while a sweep runs: a
    job that loses its worker starts again on another, from its last checkpoint if workers see the output folder. Only
    this process writes results.

    Args:
        address: Address of a cluster; None for ``RAY_ADDRESS`` or, without that, this machine.
        gpus: GPUs per worker, also a fraction; None for one if the cluster has any, otherwise 0.
        cpus: Cores and threads per worker; None for as many as this process has threads, or with a GPU one core.
        workers: Number of workers, which a cluster that grows on demand is asked for; None for as many as fit.
        losses: Times that a job may lose its worker before it is left out.

    Raises:
        ReadoutError: if an argument is out of range.
    """

    elsewhere = True

    def __init__(
        self,
        address: str | None = None,
        gpus: float | None = None,
        cpus: int | None = None,
        workers: int | None = None,
        losses: int = 3,
    ) -> None:
        self.address = address
        self.gpus = None if gpus is None else check_number("gpus", gpus, 0)
        self.cpus = None if cpus is None else check_whole("cpus", cpus, 1)
        self.workers = None if workers is None else check_whole("workers", workers, 1)
        self.losses = check_whole("losses", losses, 1)
        self._cluster: Cluster | None = None

    @property
    def size(self) -> int:
        """See :class:`Executor`."""
        return 1 if self._cluster is None else self._cluster.size

    @contextmanager
    def opened(self, work: Any) -> Iterator[None]:
        """See :class:`Executor`; the cluster is started, or joined, when there is a first job."""
        self._work = work
        try:
            yield
        finally:
            del self._work
            if self._cluster is not None:
                self._cluster.leave()
                self._cluster = None

    def share(self, name: str, value: Any) -> None:
        """See :class:`Executor`."""
        self._started().share(name, value)

    def has(self, name: str) -> bool:
        """See :class:`Executor`."""
        return self._cluster is not None and name in self._cluster.shared

    def forget(self, name: str) -> None:
        """See :class:`Executor`."""
        if self._cluster is not None:
            self._cluster.shared.pop(name, None)

    def run(self, take: Callable[[], Job | None], watch: Watch) -> Iterator[tuple[Job, Any]]:
        """See :class:`Executor`."""
        first = take()
        return self._started().run(first, take, watch) if first is not None else iter(())

    def _started(self) -> "Cluster":
        if self._cluster is None:
            try:
                from readout.executors.cluster import Cluster
            except ImportError as error:
                raise ReadoutError("Ray is not installed; run `pip install 'readout[ray]'`.") from error
            self._cluster = Cluster(self, self._work)
        return self._cluster
