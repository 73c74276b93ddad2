"""A sweep whose batches are answered at once, so that what remains is the work of the process that hands them out."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks import synthetic
from readout.callbacks.dashboard import Dashboard
from readout.data import UniformNoise, load_samples
from readout.executors import Executor, Job, Watch
from readout.extractors import FeatureExtractor
from readout.perturbations import GaussianPerturbation
from readout.priors import Pixels
from readout.problems.search import Search
from readout.readouts import ImageInversion
from readout.store import ResultStore
from readout.sweep.driver import Driver
from readout.sweep.jobs import Probed, ReadJob
from readout.sweep.options import RunOptions
from readout.sweep.plan import Plan
from readout.sweep.probe import Cost
from readout.sweep.runtime import Runtime

BATCH = 256

QUIET = Console(quiet=True)


class Instant(Executor):
    """Answers every job at once with made-up results, and times what happens until the next one is taken."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        """CPU seconds per batch between its answer and the next job."""

    @contextmanager
    def opened(self, work: Any) -> Iterator[None]:
        """See :class:`Executor`."""
        yield

    def share(self, name: str, value: Any) -> None:
        """See :class:`Executor`; nothing needs it."""

    def has(self, name: str) -> bool:
        """See :class:`Executor`."""
        return True

    def forget(self, name: str) -> None:
        """See :class:`Executor`."""

    def run(self, take: Callable[[], Job | None], watch: Watch) -> Iterator[tuple[Job, Any]]:
        """See :class:`Executor`."""
        job = take()
        while job is not None:
            answer = _read(job) if isinstance(job, ReadJob) else Probed(Cost(), BATCH, 0, 0.0)
            started = time.process_time()
            yield job, answer
            following = take()
            if isinstance(job, ReadJob):
                self.seconds.append(time.process_time() - started)
            job = following


class TimedStore(ResultStore):
    """A store that adds up the time that it takes to write."""

    writing = 0.0
    """CPU seconds."""

    def append(self, table: pd.DataFrame, recovered: Iterable[Tensor], pictured: Collection[str] | None = None) -> None:
        """See :class:`ResultStore`."""
        started = time.process_time()
        super().append(table, recovered, pictured)
        self.writing += time.process_time() - started

    def merge(self, setting: str, layer: str) -> None:
        """See :class:`ResultStore`."""
        started = time.process_time()
        super().merge(setting, layer)
        self.writing += time.process_time() - started


def make_driver(folder: Path, inputs: int, search: Search) -> Driver:
    """Return the driver of a sweep over :data:`synthetic.LAYERS` and :data:`synthetic.LEVELS`.

    Args:
        folder: Output folder.
        inputs: Number of inputs.
        search: How levels are searched.
    """
    network = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in synthetic.LAYERS))
    layers = {name: str(place) for place, name in enumerate(synthetic.LAYERS)}
    extractor = FeatureExtractor(network, layers=layers)
    samples = load_samples(_Named(inputs), extractor)
    return Driver(
        readout=ImageInversion(extractor, Pixels()),
        inputs=samples.inputs,
        shapes=samples.shapes,
        problems=dict(zip(synthetic.LAYERS, synthetic.problems(inputs), strict=True)),
        setting=synthetic.SETTING,
        perturbation=GaussianPerturbation(),
        example=lambda problems, inputs: _unused(),
        label=lambda rows, recovered, inputs: _unused(),
        store=TimedStore(folder),
        options=RunOptions(folder, batch_size=BATCH, executor=Instant()),
        threshold=0.1,
        runtime=Runtime({"max_steps": 1}),
        search=search,
        pictured=(),
    )


def run(driver: Driver, plan: Plan) -> dict[str, float]:
    """Run a sweep; return milliseconds per batch for bookkeeping and for writing, and the number of batches."""
    executor, store = driver.options.executor, driver.store
    assert isinstance(executor, Instant)
    assert isinstance(store, TimedStore)
    dashboard = Dashboard([], [], {}, store, {}, {})
    with driver.working():
        driver.run(plan, dashboard, lambda: None, QUIET)
    count = len(executor.seconds)
    per_batch = 1000 / count
    return {
        "batches": count,
        "bookkeeping ms": (sum(executor.seconds) - store.writing) * per_batch,
        "writing ms": store.writing * per_batch,
    }


def _read(job: ReadJob) -> tuple[pd.DataFrame, list[Tensor]]:
    """Make up the answer of a batch."""
    table = synthetic.results(job.batch.problems, synthetic.LAYERS.index(job.layer))
    return table.drop(columns="spread"), list(torch.rand(len(table), 3, 4, 4))


class _Named(UniformNoise):
    """Inputs with the names of the synthetic problems."""

    def __init__(self, count: int) -> None:
        super().__init__(count=count, shape=(3, 4, 4))

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index)._replace(name=f"image_{index:05d}")


def _unused() -> Any:
    raise NotImplementedError("a batch that is answered at once is never formed")
