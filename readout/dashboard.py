"""Dashboard: one run a (model, layer) in every logger, and one for the sweep as a whole; resumed, they go on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pandas as pd
from torch import Tensor

from readout import __version__
from readout.callbacks.base import LayerResults, OpenRun, SweepCallback, SweepResults
from readout.files import explained
from readout.identity import digest
from readout.inversions import FeatureInversion
from readout.logbook import Logbook
from readout.plan import LayerPlan, Plan
from readout.problems import Problem
from readout.runtime import RunLabels, Runtime, finish, logging_folder
from readout.store import ResultStore, safe_name

Facts = Mapping[str, Any]
Loggers = Sequence[Mapping[str, Any]]
"""Of :attr:`readout.runtime.Runtime.loggers`."""


class Dashboard:
    """Opens runs, tells callbacks, and closes runs again.

    A run is opened only if something of it is missing: inversions, or what is logged once they are all there. Its id
    follows from the output folder, the setting, the seed, the layer and the inputs, so that an interrupted sweep goes
    on in the same runs.

    Args:
        runtime: Has the loggers and callbacks.
        store: The output folder.
        facts: What runs are searched by; see :func:`describe_sweep`. Not looked at where there is no logger.
        judgement: What turns results into verdicts and sizes.
    """

    def __init__(self, runtime: Runtime, store: ResultStore, facts: Facts, judgement: Facts) -> None:
        self.runtime = runtime
        self.facts = facts
        self._store, self._judgement = store, judgement
        self._logbook = Logbook(store)

    def missing(self, plan: LayerPlan, finished: set[str]) -> Loggers:
        """The loggers that something of a layer is still to be told, if all of its inversions are done."""
        if not self.runtime.loggers:
            return []
        content = self._content(problem.key for problem in plan.problems if problem.key in finished)
        return self._without(self._layer_id(plan.problems), content)

    @contextmanager
    def layer(self, plan: LayerPlan, index: int, loggers: Loggers) -> Iterator["LayerRuns"]:
        """The runs of a layer, for as long as it lasts.

        Args:
            plan: The layer.
            index: Its place in the network.
            loggers: Which loggers it is for: all if something is left to invert, or those of :meth:`missing`.
        """
        if not loggers:
            yield LayerRuns(self, plan.layer, [], {})
            return
        facts = {**self.facts, "layer": plan.layer, "layer_index": index}
        name = _name(plan.layer, facts)
        with self._open(loggers, self._layer_id(plan.problems), "layer", plan.layer, name, facts) as runs:
            self._tell(runs, "on_layer_start", runs)
            yield LayerRuns(self, plan.layer, runs, facts)

    def sweep(self, results: pd.DataFrame, sizes: pd.DataFrame) -> None:
        """Log a whole sweep, unless that is done; nothing is ever added to such a run.

        Args:
            results: One row a problem, trajectories included.
            sizes: One row a (layer, sample).
        """
        if not self.runtime.loggers or results.empty:
            return
        content = self._content(results["key"])
        run_id = self._logbook.run_id("sweep", content)
        loggers = self._without(run_id, content)
        if not loggers:
            return
        with self._open(loggers, run_id, "sweep", "sweep", _sweep_name(self.facts), self.facts) as runs:
            outcome = SweepResults(results, sizes, [run.logger for run in runs], self.facts)
            self._tell(runs, "on_sweep_end", outcome)
            _complete(runs, content)

    @contextmanager
    def _open(
        self, specs: Loggers, run_id: str, kind: str, folder: str, name: str, facts: Facts
    ) -> Iterator[list[OpenRun]]:
        labels = RunLabels(
            id=run_id,
            name=name,
            group=str(facts["sweep"]),
            kind=kind,
            folder=safe_name(folder),
            tags=[str(facts[key]) for key in ("model", "prior", "protocol")],
            facts=facts,
        )
        with ExitStack() as opened:
            yield [opened.enter_context(self._run(spec, labels)) for spec in specs]

    @contextmanager
    def _run(self, spec: Mapping[str, Any], labels: RunLabels) -> Iterator[OpenRun]:
        """A run in one logger. What it was given is noted once it is closed: until then a logger may lose it."""
        with explained(logging_folder(spec, self._store.folder), OSError):
            logger = self.runtime.make_logger(spec, labels, self._store.folder)
            run, failed = OpenRun(logger, self._logbook.entry(labels.id, spec)), True
            try:
                yield run
                failed = False
            finally:
                finish(logger, failed)
                run.entry.save()

    def _without(self, run_id: str, content: str) -> Loggers:
        """The loggers whose run does not have everything."""
        return [spec for spec in self.runtime.loggers if self._logbook.entry(run_id, spec).content != content]

    def _tell(self, runs: Sequence[OpenRun], hook: str, *arguments: Any) -> None:
        if runs:
            for callback in self.runtime.callbacks:
                if isinstance(callback, SweepCallback):
                    getattr(callback, hook)(*arguments)

    def _content(self, keys: Iterable[str]) -> str:
        return digest([sorted(keys), self._judgement])

    def _layer_id(self, problems: Sequence[Problem]) -> str:
        """More levels go on in the same run; other inputs or draws begin another, whose means are not these."""
        of = {(problem.setting, problem.seed, problem.layer) for problem in problems}
        inputs = {(problem.sample, problem.input_digest, problem.draw) for problem in problems}
        return self._logbook.run_id("layer", sorted(map(list, of)), sorted(map(list, inputs)))


class LayerRuns:
    """The open runs of one layer; see :meth:`Dashboard.layer`."""

    def __init__(self, dashboard: Dashboard, layer: str, runs: Sequence[OpenRun], facts: Facts) -> None:
        self._dashboard, self._layer, self._runs, self._facts = dashboard, layer, runs, facts
        self.loggers = [run.logger for run in runs]

    def batch_stored(self) -> None:
        """A batch is done and stored."""
        self._dashboard._tell(self._runs, "on_batch_stored")

    def finish(
        self,
        table: pd.DataFrame,
        sizes: pd.DataFrame,
        inputs: Mapping[str, Tensor],
        recovered: Mapping[str, Tensor],
    ) -> None:
        """Log what is logged once a layer is done; arguments as for :class:`readout.callbacks.LayerResults`."""
        results = LayerResults(self._layer, table, sizes, inputs, recovered, self._runs, self._facts)
        self._dashboard._tell(self._runs, "on_layer_end", results)
        _complete(self._runs, self._dashboard._content(table["key"]))


def dashboard_of(
    inversion: FeatureInversion,
    columns: Facts,
    plan: Plan,
    inputs: Mapping[str, Tensor],
    runtime: Runtime,
    store: ResultStore,
    judgement: Facts,
    perturbation: str,
) -> Dashboard:
    """The dashboard of a sweep.

    Args:
        inversion: The readout.
        columns: What every row of the results says of it.
        plan: The sweep's.
        inputs: True inputs by name.
        runtime: Has the loggers and callbacks.
        store: The output folder.
        judgement: What turns results into verdicts and sizes.
        perturbation: Name of its kind.
    """
    if not runtime.loggers:
        return Dashboard(runtime, store, {}, judgement)
    problem = plan.layers[0].problems[0]
    facts = describe_sweep(
        inversion,
        columns,
        problem,
        inputs,
        **judgement,
        steps=plan.steps,
        levels=list(plan.levels),
        draws=plan.draws,
        search=plan.search,
        perturbation=perturbation,
        precision=str(runtime.make_bare_trainer().precision),
        output=str(plan.output),
        sweep=f"{plan.output.name}-{problem.setting[:6]}",
    )
    return Dashboard(runtime, store, facts, judgement)


def describe_sweep(
    inversion: FeatureInversion, columns: Facts, problem: Problem, inputs: Mapping[str, Tensor], **more: Any
) -> dict[str, Any]:
    """What runs are searched and compared by, one plain value a key.

    Args:
        inversion: The readout.
        columns: What every row of the results says of it.
        problem: Any of the sweep.
        inputs: True inputs by name.
        more: Further facts.
    """
    readout = inversion.describe()
    optimizer, schedule = readout.get("optimizer") or {}, readout.get("lr_schedule") or {}
    return {
        **columns,
        "optimizer": _short(optimizer.get("class")),
        "lr": optimizer.get("lr"),
        "lr_schedule": _short(schedule.get("class")),
        "loss": type(inversion.loss).__name__,
        "inputs": len(inputs),
        "input_shape": "×".join(map(str, next(iter(inputs.values())).shape)),
        "seed": problem.seed,
        "setting": problem.setting,
        "readout_version": __version__,
        **more,
    }


def _name(of: str, facts: Facts) -> str:
    """What a run is called; a sweep of learning rates is told apart at a glance."""
    rate = "" if facts["lr"] is None else f", lr {facts['lr']:g}"
    return f"{facts['model']} {of} · {facts['prior']}, {facts['protocol']}, {facts['steps']} steps{rate}"


def _sweep_name(facts: Facts) -> str:
    """The same for a sweep as a whole, which has another run for other levels, or judged otherwise."""
    count = len(facts["levels"])
    levels = f"{count} level{'s' * (count > 1)}"
    return f"{_name('all layers', facts)} · {levels}, {facts['estimator']}, threshold {facts['threshold']:g}"


def _short(path: object) -> str | None:
    """The last part of an import path."""
    return str(path).rpartition(".")[2] if path else None


def _complete(runs: Iterable[OpenRun], content: str) -> None:
    for run in runs:
        run.entry.content = content
