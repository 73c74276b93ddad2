"""Dashboard: one run a (model, layer) in every logger, and one for the sweep as a whole; resumed, they go on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pandas as pd
from lightning.pytorch import Callback
from torch import Tensor

from readout.callbacks.base import LayerResults, OpenRun, SweepCallback, SweepResults
from readout.callbacks.logbook import Logbook
from readout.callbacks.loggers import RunLabels, finish, logging_folder, make_logger
from readout.common.files import explained
from readout.problems import Problem
from readout.problems.identity import digest
from readout.store import ResultStore, safe_name

Facts = Mapping[str, Any]
Loggers = Sequence[Mapping[str, Any]]
"""Of :attr:`readout.sweep.runtime.Runtime.loggers`."""


class Dashboard:
    """Opens runs, tells callbacks, and closes runs again.

    A run is opened only if something of it is missing: inversions, or what is logged once they are all there. Its id
    follows from the output folder, the setting, the seed, the layer and the inputs, so that an interrupted sweep goes
    on in the same runs.

    Args:
        loggers: Of a :class:`readout.sweep.runtime.Runtime`.
        callbacks: The configured callbacks, of which each :class:`SweepCallback` is told.
        config: The whole configuration, logged with each run.
        store: The output folder.
        facts: What runs are searched by; see :func:`readout.sweep.facts.describe_sweep`. Unused without loggers.
        judgement: What turns results into verdicts and sizes.
    """

    def __init__(
        self,
        loggers: Loggers,
        callbacks: Sequence[Callback],
        config: Mapping[str, Any],
        store: ResultStore,
        facts: Facts,
        judgement: Facts,
    ) -> None:
        self.loggers, self.facts = loggers, facts
        self._callbacks = [callback for callback in callbacks if isinstance(callback, SweepCallback)]
        self._config = config
        self._store, self._judgement = store, judgement
        self._logbook = Logbook(store)

    def missing(self, problems: Sequence[Problem], finished: set[str]) -> Loggers:
        """The loggers that something of a layer is still to be told, if all of its inversions are done."""
        if not self.loggers:
            return []
        content = self._content(problem.key for problem in problems if problem.key in finished)
        return self._without(self._layer_id(problems), content)

    @contextmanager
    def layer(self, problems: Sequence[Problem], index: int, loggers: Loggers) -> Iterator["LayerRuns"]:
        """The runs of a layer, for as long as it lasts.

        Args:
            problems: All of the layer.
            index: Its place in the network.
            loggers: Which loggers it is for: all if something is left to invert, or those of :meth:`missing`.
        """
        layer = problems[0].layer
        if not loggers:
            yield LayerRuns(self, layer, [], {})
            return
        facts = {**self.facts, "layer": layer, "layer_index": index}
        name = _name(layer, facts)
        with self._open(loggers, self._layer_id(problems), "layer", layer, name, facts) as runs:
            self._tell(runs, "on_layer_start", runs)
            yield LayerRuns(self, layer, runs, facts)

    def sweep(self, results: pd.DataFrame, sizes: pd.DataFrame) -> None:
        """Log a whole sweep, unless that is done; nothing is ever added to such a run.

        Args:
            results: One row a problem, trajectories included.
            sizes: One row a (layer, sample).
        """
        if not self.loggers or results.empty:
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
            logger = make_logger(spec, labels, self._store.folder, self._config)
            run, failed = OpenRun(logger, self._logbook.entry(labels.id, spec)), True
            try:
                yield run
                failed = False
            finally:
                finish(logger, failed)
                run.entry.save()

    def _without(self, run_id: str, content: str) -> Loggers:
        """The loggers whose run does not have everything."""
        return [spec for spec in self.loggers if self._logbook.entry(run_id, spec).content != content]

    def _tell(self, runs: Sequence[OpenRun], hook: str, *arguments: Any) -> None:
        for callback in self._callbacks if runs else ():
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


def _name(of: str, facts: Facts) -> str:
    """What a run is called; a sweep of learning rates is told apart at a glance."""
    rate = "" if facts["lr"] is None else f", lr {facts['lr']:g}"
    return f"{facts['model']} {of} · {facts['prior']}, {facts['protocol']}, {facts['steps']} steps{rate}"


def _sweep_name(facts: Facts) -> str:
    """The same for a sweep as a whole, which has another run for other levels, or judged otherwise."""
    count = len(facts["levels"])
    levels = f"{count} level{'s' * (count > 1)}"
    return f"{_name('all layers', facts)} · {levels}, {facts['estimator']}, threshold {facts['threshold']:g}"


def _complete(runs: Iterable[OpenRun], content: str) -> None:
    for run in runs:
        run.entry.content = content
