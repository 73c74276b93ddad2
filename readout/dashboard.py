"""Dashboard: one run a (model, layer) in every logger, and one for the sweep as a whole; resumed, they go on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd
from torch import Tensor

from readout import __version__
from readout.callbacks.base import LayerResults, OpenRun, SweepCallback, SweepResults
from readout.identity import digest
from readout.inversions import FeatureInversion
from readout.logbook import Logbook
from readout.plan import LayerPlan, Plan
from readout.problems import Problem
from readout.runtime import RunLabels, Runtime, finish
from readout.store import ResultStore

Facts = Mapping[str, Any]


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

    def missing(self, plan: LayerPlan, finished: set[str]) -> bool:
        """Whether something of a layer is still to be logged, all inversions done or not."""
        if not self.runtime.loggers:
            return False
        content = self._content(problem.key for problem in plan.problems if problem.key in finished)
        run_id = self._layer_id(plan.problems)
        return any(self._logbook.entry(run_id, spec).content != content for spec in self.runtime.loggers)

    @contextmanager
    def layer(self, plan: LayerPlan, index: int) -> Iterator["LayerRuns"]:
        """The runs of a layer, for as long as it lasts.

        Args:
            plan: The layer.
            index: Its place in the network.
        """
        if not self.runtime.loggers:
            yield LayerRuns(self, plan.layer, [], {})
            return
        facts = {**self.facts, "layer": plan.layer, "layer_index": index}
        name = f"{facts['model']} {plan.layer}"
        with self._open(self._layer_id(plan.problems), "layer", plan.layer, name, facts) as runs:
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
        if all(self._logbook.entry(run_id, spec).content == content for spec in self.runtime.loggers):
            return
        name = f"{self.facts['model']} all layers"
        with self._open(run_id, "sweep", "sweep", name, self.facts) as runs:
            outcome = SweepResults(results, sizes, [run.logger for run in runs], self.facts)
            self._tell(runs, "on_sweep_end", outcome)
            _complete(runs, content)

    @contextmanager
    def _open(self, run_id: str, kind: str, folder: str, name: str, facts: Facts) -> Iterator[list[OpenRun]]:
        labels = RunLabels(
            id=run_id,
            name=f"{name} · {facts['prior']}, {facts['protocol']}, {facts['steps']} steps",
            group=str(facts["sweep"]),
            kind=kind,
            folder=folder,
            tags=[str(facts[key]) for key in ("model", "prior", "protocol")],
            facts=facts,
        )
        loggers = self.runtime.make_loggers(labels, self._store.folder)
        entries = (self._logbook.entry(run_id, spec) for spec in self.runtime.loggers)
        try:
            yield [OpenRun(logger, entry) for logger, entry in zip(loggers, entries, strict=True)]
        except BaseException:
            finish(loggers, failed=True)
            raise
        finish(loggers)

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


def _short(path: object) -> str | None:
    """The last part of an import path."""
    return str(path).rpartition(".")[2] if path else None


def _complete(runs: Iterable[OpenRun], content: str) -> None:
    for run in runs:
        run.entry.content = content
        run.entry.save()
