"""Loop: hands out the jobs of a plan, and stores and logs what comes back."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
from lightning.pytorch.loggers import Logger
from rich.console import Console
from torch import Tensor

from readout.analysis.sizes import sizes_table
from readout.analysis.words import inverted_keys
from readout.callbacks.dashboard import Dashboard
from readout.common.errors import ReadoutError
from readout.common.files import write_whole
from readout.common.lazy import LazyMapping
from readout.common.signals import stoppable
from readout.common.terminal import say
from readout.executors import Job, Lost, Watch
from readout.problems import Problem
from readout.store import save_file
from readout.sweep.checkpoints import Checkpoints
from readout.sweep.jobs import ReadJob, Trained, TrainJob
from readout.sweep.open_runs import OpenRuns
from readout.sweep.plan import LayerPlan, Plan
from readout.sweep.progress import SweepProgress
from readout.sweep.schedule import Batch, LayerSchedule, Schedule

if TYPE_CHECKING:
    from readout.sweep.driver import Driver


class Loop:
    """One run over a plan: takes batches from a schedule, has an executor read them, and stores the answers.

    Args:
        driver: The sweep.
        plan: What is left of it.
        dashboard: Runs in loggers.
        console: Where progress goes.
    """

    def __init__(self, driver: "Driver", plan: Plan, dashboard: Dashboard, console: Console) -> None:
        self.driver = driver
        self.plan = plan
        self.dashboard = dashboard
        self.console = console
        self.executor = driver.options.executor
        size = driver.options.batch_size
        limit = None if size == "auto" else size
        self.checkpoints = Checkpoints(driver.options.output, driver.setting.digest, limit, partial(say, console))
        self.plans = {layer.layer: layer for layer in plan.layers}
        self.schedule = self._schedule()
        self.given_up: list[tuple[Batch, int]] = []

    def run(self) -> None:
        """Run until everything is stored and logged.

        Raises:
            ReadoutError: if batches were given up.
            KeyboardInterrupt: after Ctrl-C; see :func:`stoppable`.
        """
        with ExitStack() as held:
            stop = held.enter_context(stoppable())
            self.progress = held.enter_context(SweepProgress(self.plan, self.console, lambda: self.executor.size))
            self.runs = held.enter_context(OpenRuns(self.dashboard, list(self.driver.readout.extractor.layers)))
            told = partial(say, self.console)
            watch = Watch(stop, self.progress.report, told, self._loggers, lambda job: self.progress.lost(job.name))
            self._finish_layers()
            for job, answer in self.executor.run(self._take, watch):
                if isinstance(job, TrainJob):
                    self._trained(job, answer)
                elif isinstance(job, ReadJob):
                    self._read(job.batch, answer)
                self._finish_layers()
        self.checkpoints.clean()
        if self.given_up:
            raise ReadoutError(self._given_up())

    def _schedule(self) -> Schedule:
        """Return what is left, interrupted batches first."""
        driver, plans = self.driver, self.plan.layers
        finished = driver.store.finished()
        left = [layer for layer in plans if layer.remaining or self.dashboard.missing(layer.problems, finished)]
        begun = self.checkpoints.begun((problem for layer in left for problem in layer.problems), finished)
        layers = []
        for layer in left:
            first = [batch for batch in begun if batch[0].layer == layer.layer]
            taken = {problem.key for batch in first for problem in batch}
            rest = layer.batches
            if self.plan.search != "grid":
                rest = self.checkpoints.round(layer.layer, layer.problems, finished)
            after = ([problem for problem in batch if problem.key not in taken] for batch in rest)
            trained = driver.readout.trained is None or driver.weights_path(layer.layer).exists()
            waiting = [*first, *(batch for batch in after if batch)]
            layers.append(LayerSchedule(layer, waiting, trained or not layer.remaining))
        sizes = {layer.layer: len(layer.problems) for layer in left}
        return Schedule(
            layers,
            self.plan.search,
            lambda layer, groups: self.checkpoints.begin_round(layer, groups, sizes[layer]),
        )

    def _take(self) -> Job | None:
        """Return the next job."""
        due, driver = self.schedule.take(), self.driver
        if due is None:
            return None
        if isinstance(due, str):
            steps = self.plans[due].training_steps
            job = TrainJob(due, driver.weights_path(due).stem, bool(self.dashboard.loggers))
            self.progress.start_training(job.name, due, steps)
            return job
        self.progress.start(due)
        return ReadJob(due, driver.inputs_of(due.problems), driver.share_weights(due.layer))

    def _loggers(self, job: Job) -> Sequence[Logger]:
        """Open the runs of a job that runs in this process."""
        if isinstance(job, TrainJob):
            return self.runs.of_training(job.layer, job.key)
        return self.runs.of_layer(self.plans[job.layer].problems).loggers if isinstance(job, ReadJob) else ()

    def _trained(self, job: TrainJob, answer: Trained | Lost) -> None:
        """Keep the weights of a layer, and log what was recorded of the training elsewhere."""
        if isinstance(answer, Lost):
            raise ReadoutError(f"The training at layer {job.layer!r} ended its worker {answer.times} times.")
        for metrics, step in answer.logged:
            for logger in self.runs.of_training(job.layer, job.key):
                logger.log_metrics(metrics, step)
        self.runs.close()
        write_whole(self.driver.weights_path(job.layer), lambda path: save_file(answer.weights, path))
        self.checkpoints.training(job.key).unlink(missing_ok=True)
        self.schedule.trained(job.layer)
        self.progress.training_done(job.name, job.layer)

    def _read(self, batch: Batch, answer: tuple[pd.DataFrame, list[Tensor]] | Lost) -> None:
        """Store the answer of a batch."""
        if isinstance(answer, Lost):
            self.given_up.append((batch, answer.times))
            self.schedule.answered(batch, None)
            self.progress.done(batch, stored=False)
            return
        table, recovered = answer
        table = self.driver.judged(table.assign(spread=self._spreads(batch.problems, recovered)))
        self.driver.store.append(table, recovered, self.driver.pictured)
        self.checkpoints.forget(batch.name)
        self.schedule.answered(batch, table)
        self.runs.batch_stored()
        self.progress.done(batch)

    def _spreads(self, problems: Sequence[Problem], recovered: Sequence[Tensor]) -> list[float]:
        """Return d_S between each reading and the first one of the same feature; NaN for the first."""
        spreads = [math.nan] * len(problems)
        firsts = {place: replace(problem, reading=0).key for place, problem in enumerate(problems) if problem.reading}
        if not firsts:
            return spreads
        readout, known = self.driver.readout, self.driver.store.load_recovered(firsts.values())
        known |= {problem.key: found for problem, found in zip(problems, recovered, strict=True) if found.numel()}
        for place, key in firsts.items():
            if key in known and recovered[place].numel():
                pair = [readout.signal(each.unsqueeze(0)) for each in (recovered[place], known[key])]
                spreads[place] = float(readout.metric.cpu().per_sample(*pair))
        return spreads

    def _finish_layers(self) -> None:
        """Log the layers that have everything."""
        for layer in self.schedule.take_done():
            self.driver.store.merge(self.driver.setting.digest, layer.layer)
            self._log(layer)
            self.executor.forget(self._weights_name(layer.layer))
            self.checkpoints.layer_done(layer.layer)
            self.progress.layer_done(layer)

    def _weights_name(self, layer: str) -> str:
        return self.driver.weights_path(layer).stem if self.driver.readout.trained is not None else ""

    def _log(self, layer: LayerPlan) -> None:
        """Log the results of a layer, and close its runs."""
        driver = self.driver
        finished = driver.store.finished() if self.dashboard.loggers else set()
        loggers = None if layer.remaining else self.dashboard.missing(layer.problems, finished)
        runs = self.runs.of_layer(layer.problems, loggers)
        results = driver.results(layer.problems, trajectories=True) if runs.loggers else pd.DataFrame()
        if not results.empty:
            sizes = sizes_table(results, driver.estimator)
            keys = dict.fromkeys(inverted_keys(results))
            recovered = LazyMapping(keys, lambda key: driver.store.load_recovered([key])[key])
            runs.finish(results, sizes, driver.inputs, recovered)
        self.runs.close()

    def _given_up(self) -> str:
        """Describe the batches that were left out."""
        (first, times), count = self.given_up[0], len(self.given_up)
        problems = sum(len(batch.problems) for batch, _ in self.given_up)
        names = ", ".join(dict.fromkeys(problem.sample for problem in first.problems))
        what = f"{count} batch{'es' if count > 1 else ''} ({problems} problem{'s' if problems > 1 else ''})"
        why = f"each ended {times} workers, the first" if count > 1 else f"it ended {times} workers,"
        return (
            f"{what} {'were' if count > 1 else 'was'} left out, because {why} at layer {first.layer!r} with the inputs "
            f"{names:.200}; all others are stored. Find what ends a process there (mostly memory: lower "
            "sweep.batch_size), then run the same command again."
        )
