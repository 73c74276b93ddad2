"""Driver: plans the problems, runs unfinished ones and stores each batch, for sweeps and external features alike."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console
from torch import Tensor

from readout.analysis.sizes import sizes_table
from readout.callbacks.dashboard import Dashboard
from readout.common.errors import ReadoutError
from readout.common.signals import stoppable
from readout.common.terminal import say
from readout.perturbations import Perturbation
from readout.problems import Problem, Setting, batches
from readout.problems.search import Search, most_levels, wanted_now
from readout.readouts import ProblemBatch, Readout, TrainedReadout
from readout.readouts.run import Row, inputs_of, read
from readout.representation import Estimator
from readout.store import ResultStore, judge
from readout.sweep.checkpoints import FOLDER, LayerCheckpoint, batches_left, tidy
from readout.sweep.claims import in_turn
from readout.sweep.independence import check_independent
from readout.sweep.options import RunOptions
from readout.sweep.plan import LayerPlan, Plan, plan_layer, title
from readout.sweep.progress import SweepProgress
from readout.sweep.runtime import Runtime
from readout.sweep.training import rehearse, train, weights_path


@dataclass(frozen=True)
class Driver:
    """Reads all problems, layer by layer and batch by batch, into one output folder."""

    readout: Readout
    inputs: Mapping[str, Tensor]
    """True inputs by sample name."""
    shapes: Mapping[str, Tensor]
    """Tensors of the inputs' shapes and types, without values; see :attr:`readout.data.Metadata.like`."""
    problems: Mapping[str, Sequence[Problem]]
    """By layer, in the network's order."""
    setting: Setting
    perturbation: Perturbation
    example: Callable[[Sequence[Problem]], ProblemBatch]
    """Makes a batch that costs as much as these problems, with known true inputs."""
    label: Callable[[list[Row], list[Tensor], Mapping[str, Tensor]], pd.DataFrame]
    """Makes the table of a batch from its rows, its recovered inputs and its true ones by sample name."""
    store: ResultStore
    options: RunOptions
    threshold: float
    """t; NaN where nothing is judged."""
    runtime: Runtime
    search: Search = "grid"
    estimator: Estimator = Estimator.MAX

    def plan(self) -> Plan:
        """Check each layer, measure the cost of a step, and form batches of unfinished problems.

        Raises:
            ReadoutError: if a layer can't be read, or a part of the readout couples the problems of a batch.
        """
        known = self.results()
        plan = Plan(
            title=title(self.readout),
            layers=[
                self._plan_layer(problems, known[known["layer"] == layer]) for layer, problems in self.problems.items()
            ],
            steps=self.readout.steps(self.runtime.make_bare_trainer(), self.shapes.values()),
            iterative=self.readout.iterative,
            output=self.options.output,
            search=self.search,
            alone_for=self.options.alone_for,
        )
        layer = next((layer for layer in plan.layers if layer.remaining), None)
        if layer and self.options.batch_size != 1:
            moved_most = max(layer.problems, key=lambda problem: problem.level)
            check_independent(self.readout, self.example([moved_most]), self.runtime)
        return plan

    def run(self, plan: Plan, dashboard: Dashboard, keep: Callable[[], None], console: Console) -> pd.DataFrame:
        """Run unfinished problems, and run again if results have vanished from the folder meanwhile.

        Args:
            plan: From :meth:`plan`.
            dashboard: Runs in loggers.
            keep: Writes what describes the results beside setting and configuration.
            console: Where progress goes.

        Returns:
            One row per problem, with verdicts and trajectories.

        Raises:
            ReadoutError: if results vanish twice.
            KeyboardInterrupt: after Ctrl-C; see :func:`stoppable`.
        """
        self._run_layers(plan, dashboard, keep, console)
        if count := self._missing():
            say(console, f"{count} results have gone from {self.store.folder}; they are computed again")
            self._run_layers(self.plan(), dashboard, keep, console)
            if count := self._missing():
                raise ReadoutError(
                    f"{count} results have gone from {str(self.store.folder)!r} twice; find out what removes them, "
                    "then run the same command again: it computes what is missing."
                )
        return self.results(trajectories=True)

    def results(self, problems: Iterable[Problem] | None = None, trajectories: bool = False) -> pd.DataFrame:
        """Return stored results with verdicts, one row per problem.

        Args:
            problems: Default: all.
            trajectories: Load the columns that hold a list per problem, too.
        """
        wanted = itertools.chain(*self.problems.values()) if problems is None else problems
        keys = {problem.key for problem in wanted} & self.store.finished()
        results = self.store.load(trajectories)
        return self._judged(results[results["key"].isin(keys)].reset_index(drop=True))

    def _plan_layer(self, problems: Sequence[Problem], known: pd.DataFrame) -> LayerPlan:
        wanted = wanted_now(problems, known, self.search)
        largest_first = sorted(wanted, key=lambda problem: -self.shapes[problem.sample].numel())
        size, finished = self.options.batch_size, set(known["key"])
        steps, seconds = 0, 0.0
        if wanted and isinstance(self.readout, TrainedReadout):
            layer = wanted[0].layer
            steps, seconds = rehearse(self.readout, layer, self._weights_path(self.readout, layer), self.runtime)
        plan = plan_layer(problems, largest_first, finished, self.readout, self.example, size, self.runtime)
        plan = replace(plan, training_steps=steps, training_step_seconds=seconds)
        if self.search == "grid" or not wanted:
            return plan
        crossed = len({(problem.sample, problem.draw, problem.reading) for problem in problems})
        most = crossed * most_levels(sorted({problem.level for problem in problems})) - plan.finished
        return replace(plan, batches=[], remaining=max(most, len(wanted)), least=len(wanted))

    def _weights_path(self, readout: TrainedReadout, layer: str) -> Path:
        return weights_path(readout, self.setting, layer, self.options.output)

    def _run_layers(self, plan: Plan, dashboard: Dashboard, keep: Callable[[], None], console: Console) -> None:
        self.store.write_setting(self.setting)
        self.store.write_text("config.yaml", self.options.kept(self.runtime.config, self.threshold))
        keep()
        finished = self.store.finished() if dashboard.loggers else set()
        layers = [layer for layer in plan.layers if layer.remaining or dashboard.missing(layer.problems, finished)]
        output, minutes = self.options.output, self.options.checkpoint_minutes
        limit = None if self.options.batch_size == "auto" else self.options.batch_size
        with (
            stoppable() as stop,
            SweepProgress(plan, console) as progress,
            closing(in_turn(layers, output / FOLDER, stop, console)) as claimed,
        ):
            for layer in claimed:
                checkpoint = LayerCheckpoint(output, layer, minutes, stop, console, limit)
                progress.start_layer(layer)
                if layer.remaining and isinstance(self.readout, TrainedReadout):
                    kept = self._weights_path(self.readout, layer.layer)
                    checkpoints = (minutes, stop, console)
                    train(self.readout, layer.layer, kept, self.runtime, dashboard, progress, *checkpoints)
                self._run_layer(layer, checkpoint, progress, dashboard)
                checkpoint.layer_done()
                progress.layer_done()
        tidy(output)

    def _run_layer(
        self, plan: LayerPlan, checkpoint: LayerCheckpoint, progress: SweepProgress, dashboard: Dashboard
    ) -> None:
        left = self._batches(plan, checkpoint)
        first = list(itertools.islice(left, 1))
        loggers = dashboard.loggers if first else dashboard.missing(plan.problems, self.store.finished())
        if not first and not loggers:
            return  # another process has done the whole layer
        index = list(self.readout.extractor.layers).index(plan.layer)
        with dashboard.layer(plan.problems, index, loggers) as runs:
            trainer = partial(self.runtime.make_trainer, runs.loggers, progress, checkpoint)
            for batch in itertools.chain(first, left):
                self._run_batch(batch, checkpoint, progress, lambda readout: checkpoint.run(trainer(), readout))
                runs.batch_stored()
                progress.done()
            results = self.results(plan.problems, trajectories=True) if runs.loggers else pd.DataFrame()
            if not results.empty:
                sizes = sizes_table(results, self.estimator)
                runs.finish(results, sizes, self.inputs, self.store.load_recovered(results["key"]))

    def _run_batch(
        self,
        batch: Sequence[Problem],
        checkpoint: LayerCheckpoint,
        progress: SweepProgress,
        run: Callable[[Readout], None],
    ) -> None:
        checkpoint.stop.check()
        progress.start(batch)
        attempt = checkpoint.attempt(batch)
        inputs = inputs_of(batch, self.inputs, self.perturbation)
        rows, recovered = read(self.readout, batch, inputs, self.perturbation, run, attempt)
        table = self.label(rows, recovered, inputs).assign(spread=self._spreads(batch, recovered))
        self.store.append(self._judged(table), recovered)
        checkpoint.stored()

    def _spreads(self, batch: Sequence[Problem], recovered: Sequence[Tensor]) -> list[float]:
        """Return d_S between each reading and the first one of the same feature; NaN for the first."""
        spreads = [math.nan] * len(batch)
        firsts = {place: replace(problem, reading=0).key for place, problem in enumerate(batch) if problem.reading}
        if not firsts:
            return spreads
        known = self.store.load_recovered(firsts.values())
        known |= {problem.key: found for problem, found in zip(batch, recovered, strict=True) if found.numel()}
        for place, key in firsts.items():
            if key in known and recovered[place].numel():
                pair = [self.readout.signal(each.unsqueeze(0)) for each in (recovered[place], known[key])]
                spreads[place] = float(self.readout.metric.cpu().per_sample(*pair))
        return spreads

    def _batches(self, plan: LayerPlan, checkpoint: LayerCheckpoint) -> Iterator[list[Problem]]:
        """Yield the batches of a layer, the interrupted one first; a search forms each round from the results so far.

        The store is read before each batch, because another process may have added results.
        """
        if self.search == "grid":
            yield from batches_left(plan.batches, self.store, checkpoint)
            return
        yield from batches_left(checkpoint.round(self.store.finished()), self.store, checkpoint)
        while wanted := wanted_now(plan.problems, self.results(plan.problems), self.search):
            groups = list(batches(wanted, plan.batch_size))
            checkpoint.begin_round(groups)
            yield from batches_left(groups, self.store, checkpoint)

    def _missing(self) -> int:
        """Count wanted results that the folder does not hold."""
        known = self.results()
        return sum(
            len(wanted_now(problems, known[known["layer"] == layer], self.search))
            for layer, problems in self.problems.items()
        )

    def _judged(self, results: pd.DataFrame) -> pd.DataFrame:
        return judge(results, self.threshold, self.options.tolerance)


def make_setting(readout: Readout, moved_by: object, runtime: Runtime) -> Setting:
    """Return the setting that all problems share.

    Args:
        readout: The readout.
        moved_by: The perturbation as plain data.
        runtime: Makes Trainers.

    Raises:
        ReadoutError: if the Trainer would use several devices.
    """
    trainer = runtime.make_bare_trainer()
    if trainer.world_size > 1:
        raise ReadoutError(
            f"A sweep runs on one device, not {trainer.world_size}; set `trainer.devices: 1`. To share a sweep among "
            "devices, start the same command for each, with the same output."
        )
    steps = trainer.max_steps if readout.iterative else 1
    network, described = readout.extractor.fingerprint(), readout.describe(steps)
    if readout.denoiser is not None:
        described["denoiser"] = readout.denoiser.describe()
    return Setting(network, described, moved_by, steps, str(trainer.precision))
