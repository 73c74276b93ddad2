"""Cluster: the workers of a Ray cluster while a sweep runs, and the jobs in their hands."""

import logging
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from readout.common.errors import ReadoutError, reason
from readout.common.signals import KEPT, Stopped, handlers, set_handlers
from readout.common.software import versions
from readout.executors.base import Job, Lost, Watch
from readout.executors.board import Board
from readout.executors.worker import Facts, Refused, Worker

if TYPE_CHECKING:
    from readout.executors.ray import Ray

TICK_SECONDS = 0.5
"""Time between two looks at the board and the cluster."""

JOIN_SECONDS = 10.0
"""Longest wait for a connection to the cluster."""

START_SECONDS = 300.0
"""Longest wait for the first worker."""

OTHERS_SECONDS = 30.0
"""Longest wait for the next one, whose place another sweep may have."""

MOST_FAILED_STARTS = 3
"""Workers that may fail to start before any has."""


class Cluster:
    """The workers of a cluster: hires them, gives each one job at a time, and replaces those that are lost.

    Args:
        options: Resources per worker, and so on.
        work: What all jobs need; it is sent once, and each node keeps one copy.

    Raises:
        ReadoutError: if the cluster can't be reached, ``work`` can't be sent, or no worker starts.
    """

    def __init__(self, options: "Ray", work: Any) -> None:
        self.options = options
        self.shared: dict[str, Any] = {}
        self._hired: list[Any] = []
        self._asked: dict[Any, Any] = {}
        """Workers by the answer that says that they have started or, after a loss, that they are still there."""
        self._ready: dict[Any, Facts] = {}
        self._failed_starts = 0
        self._told_devices = False
        before = handlers()
        _join(options.address)
        set_handlers(before)  # Ray's own would end this process at once
        try:
            self._work = _sent(work)
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            self._board = _actor(Board, num_cpus=0, scheduling_strategy=here).remote()
            self._need = self._needed()
            self._hire()
            self._await_workers()
        except BaseException:
            self.leave()
            raise

    @property
    def size(self) -> int:
        """Workers that are ready, at least 1."""
        return max(1, len(self._ready))

    def leave(self) -> None:
        """End all workers and leave the cluster."""
        for worker in self._hired:  # one that is still to start would take the place of one of the next sweep
            with suppress(Exception):
                ray.kill(worker)
        before = handlers()
        ray.shutdown()
        set_handlers(before)

    def share(self, name: str, value: Any) -> None:
        """See :class:`readout.executors.Executor`."""
        self.shared[name] = ray.put(value)

    def run(self, first: Job, take: Callable[[], Job | None], watch: Watch) -> Iterator[tuple[Job, Any]]:
        """See :class:`readout.executors.Executor`; ``first`` was taken already."""
        ray.get(self._board.clear.remote())
        waiting, losses = deque([first]), Counter[str]()
        running: dict[Any, tuple[Any, Job]] = {}
        stopped: list[str] = []
        while True:
            if watch.stop.asked is None:
                self._hire()
                for worker in self._idle(running):
                    job = waiting.popleft() if waiting else take()
                    if job is None:
                        break
                    running[self._begin(worker, job)] = worker, job
                if not running and not waiting:  # also without an idle worker there may be more
                    job = take()
                    if job is None:
                        return
                    waiting.append(job)
            elif not running:
                raise Stopped(_sentence(stopped))
            if not running and not self._asked:
                time.sleep(TICK_SECONDS)  # until a node joins
            done, _ = ray.wait([*running, *self._asked], timeout=TICK_SECONDS, num_returns=1)
            self._look_at_board(watch)
            for ref in done:
                if ref in self._asked:
                    self._answered(ref)
                    continue
                worker, job = running.pop(ref)
                try:
                    answer = ray.get(ref)
                except RayTaskError as error:
                    raise error.cause from error
                except RayError:  # the worker, its node, its answer or the connection is gone
                    self._dismiss(worker)
                    for other in self._idle(running):  # the next job must not find out that they are gone, too
                        self._ask(other)
                    losses[job.name] += 1
                    watch.lost(job)
                    if losses[job.name] < self.options.losses:
                        waiting.append(job)
                    else:
                        yield job, Lost(losses[job.name])
                else:
                    if isinstance(answer, Refused):
                        raise ReadoutError(answer.sentence)
                    if isinstance(answer, Stopped):
                        stopped.append(str(answer))
                    else:
                        yield job, answer

    def _begin(self, worker: Any, job: Job) -> Any:
        # in a list a reference is sent as such, and the worker fetches its value once
        shared = [self.shared[job.shared]] if job.shared else []
        return worker.do.remote(job, shared, self._least_memory())

    def _idle(self, running: Mapping[Any, tuple[Any, Job]]) -> list[Any]:
        busy = [*(worker for worker, _ in running.values()), *self._asked.values()]
        return [worker for worker in self._ready if worker not in busy]

    def _look_at_board(self, watch: Watch) -> None:
        """Pass on what jobs have told, and tell them if a stop was asked for."""
        devices = sorted({facts.device for facts in self._ready.values()})
        if len(devices) > 1 and not self._told_devices:
            self._told_devices = True
            watch.say(f"workers have different devices ({', '.join(devices)}), which may round differently")
        reports, said = ray.get(self._board.read.remote(watch.stop.asked is not None))
        for sentence in said:
            watch.say(sentence)
        for report in reports:
            watch.report(report)

    def _needed(self) -> dict[str, float]:
        """Return what a worker needs, decided once: a cluster that has lost its GPUs must not go on without."""
        gpus, cpus = self.options.gpus, self.options.cpus
        if gpus is None:
            gpus = float(_resources().get("GPU", 0) > 0)
        return {"GPU": gpus, "CPU": float(cpus or (1 if gpus else self._threads))}

    @property
    def _threads(self) -> int:
        return self.options.cpus or torch.get_num_threads()

    def _hire(self) -> None:
        """Start a worker for every place that the cluster has now."""
        need, has = self._need, _resources()
        places = min(int(has.get(name, 0) / amount) for name, amount in need.items() if amount)
        for _ in range((self.options.workers or places) - len(self._hired)):
            actor = _actor(Worker, num_gpus=need["GPU"], num_cpus=need["CPU"], max_restarts=0, max_task_retries=0)
            worker = actor.remote(self._work, self._board, self._threads)
            self._hired.append(worker)
            self._ask(worker)

    def _ask(self, worker: Any) -> None:
        """Ask a worker to show that it is there; until then it gets no job."""
        self._asked[worker.facts.remote()] = worker

    def _await_workers(self) -> None:
        """Wait until those that were hired have started, or, of a cluster that grows on demand, the first has.

        Raises:
            ReadoutError: if there is no place for one, or none starts.
        """
        if not self._hired:
            raise ReadoutError(
                f"The cluster has {_in_words(_resources())}, and a worker needs {_in_words(self._need)}; give "
                "sweep.executor.cpus or sweep.executor.gpus to match, or sweep.executor.workers for a cluster that "
                "grows on demand."
            )
        while self._asked and not (self._ready and self.options.workers):
            longest = OTHERS_SECONDS if self._ready else START_SECONDS
            done, _ = ray.wait([*self._asked], timeout=longest, num_returns=1)
            for ref in done:
                self._answered(ref)
            if not done and self._ready:
                return
            if not done:
                raise ReadoutError(
                    f"No worker has started in {START_SECONDS:.0f} s; `ray status` says what is missing."
                )

    def _answered(self, ref: Any) -> None:
        """Note what a worker says of itself, or that it is gone."""
        worker = self._asked.pop(ref)
        try:
            facts = ray.get(ref)
        except RayError as error:
            had_started = worker in self._ready
            self._dismiss(worker)
            self._failed_starts += not had_started
            if not self._ready and self._failed_starts >= MOST_FAILED_STARTS:
                last = str(error).strip().splitlines()[-1]
                raise ReadoutError(
                    f"{self._failed_starts} workers could not start; the last one said: {last}"
                ) from None
            return
        self._failed_starts = 0
        if facts.versions != versions():
            both = (facts.versions, versions())
            there, here = (", ".join(f"{name} {version}" for name, version in each.items()) for each in both)
            raise ReadoutError(f"A worker has {there}, but this process has {here}; install the same on all nodes.")
        self._ready[worker] = facts

    def _dismiss(self, worker: Any) -> None:
        with suppress(Exception):
            ray.kill(worker)
        self._hired.remove(worker)
        self._ready.pop(worker, None)

    def _least_memory(self) -> int | None:
        """Return the bytes that every worker has free; those of one node share its main memory alike."""
        nodes = Counter(facts.node for facts in self._ready.values())
        free = (facts.free_gpu or facts.free_memory // nodes[facts.node] for facts in self._ready.values())
        return min(free, default=None)


def _join(address: str | None) -> None:
    """Join a cluster, or start one on this machine."""
    joining = address or os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # they would be sent over the network
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the way that Ray is going to behave
    own: dict[str, Any] = {} if joining else {"include_dashboard": False, "num_cpus": _cores()}
    try:
        if joining:
            _check_reachable(joining)
        ray.init(address=joining or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # of any kind
        if joining:
            raise ReadoutError(
                f"The Ray cluster {joining!r} can't be joined ({reason(error)}); start it with `ray start`, or correct "
                "its address (RAY_ADDRESS) or its token (RAY_AUTH_TOKEN)."
            ) from error
        raise ReadoutError(f"Ray can't start on this machine ({reason(error)}).") from error


def _check_reachable(address: str) -> None:
    """Connect to an address for a moment; Ray itself would try for more than two minutes.

    Raises:
        OSError: if there is nothing at a ``HOST:PORT``.
    """
    host, separator, port = address.rpartition(":")
    if separator and port.isdigit() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), JOIN_SECONDS).close()


def _resources() -> dict[str, float]:
    """Return what all nodes of the cluster have together, whether in use or not."""
    resources: Any = ray.cluster_resources
    return dict(resources())


def _actor(kind: type, **options: Any) -> Any:
    """Return an actor class, whose types Ray does not tell."""
    remote: Any = ray.remote
    return remote(**options)(kind)


def _cores() -> int:
    """Return the cores that this process may use; Ray would count those of the whole machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sent(work: Any) -> Any:
    try:
        return ray.put(work)
    except Exception as error:  # pickling raises anything, and Ray puts a description of the whole work before it
        why = reason(error.__cause__ or error)
        raise ReadoutError(
            f"The sweep can't be sent to workers ({why}); its parts must be picklable: define classes in a module, and "
            "keep no open files or locks in them."
        ) from error


def _in_words(resources: Mapping[str, float]) -> str:
    return " and ".join(f"{resources.get(name, 0):g} {name}s" for name in ("CPU", "GPU"))


def _sentence(stopped: list[str]) -> str:
    """Say what was stopped, and how to go on."""
    if len(stopped) == 1:
        return stopped[0]
    saved = sum("which is saved" in sentence for sentence in stopped)
    what = (
        f" in the middle of {len(stopped)} batches, {saved} of which are saved" if stopped else " between two batches"
    )
    return f"Stopped{what}; {KEPT}"
