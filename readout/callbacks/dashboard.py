"""Dashboard: one run per (model, layer) in every logger, and one for the whole sweep, continued by a resumed sweep."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torch import Tensor

from readout.callbacks.base import LayerResults, OpenRun, SweepCallback, SweepResults
from readout.callbacks.logbook import Logbook
from readout.callbacks.loggers import logging_folder, open_run
from readout.callbacks.loggers.base import RunLabels
from readout.common.files import explained
from readout.problems import Problem
from readout.problems.identity import digest
from readout.store import ResultStore

Facts = Mapping[str, Any]
Loggers = Sequence[Mapping[str, Any]]
"""See :attr:`readout.sweep.runtime.Runtime.loggers`."""


class Dashboard:
    """The runs of a sweep in its loggers, and the callbacks that log to them.

    A run is opened only if something is missing from it: inversions, or the results that are logged after them. Its id
    is a digest of the output folder, the setting, the seed, the layer and the inputs, so that an interrupted sweep
    continues the same runs.

    Args:
        loggers: Class and arguments of each logger.
        callbacks: The configured callbacks; only a :class:`SweepCallback` is called here.
        config: The whole configuration, logged with each run.
        store: The output folder.
        facts: Plain values to search runs by; see :func:`readout.sweep.facts.dashboard_of`. Unused without loggers.
        judgement: Options that turn results into verdicts and sizes.
    """

    def __init__(
        self,
        loggers: Loggers,
        callbacks: Sequence[Callback],
        config: Facts,
        store: ResultStore,
        facts: Facts,
        judgement: Facts,
    ) -> None:
        self.loggers, self.facts = loggers, facts
        self._callbacks = [callback for callback in callbacks if isinstance(callback, SweepCallback)]
        self._config, self._store, self._judgement = config, store, judgement
        self._logbook = Logbook(store)

    def missing(self, problems: Sequence[Problem], finished: Set[str]) -> Loggers:
        """Return the loggers whose run of a layer would be incomplete even if nothing were left to invert."""
        if not self.loggers:
            return []
        content = self._content(problem.key for problem in problems if problem.key in finished)
        return self._incomplete(self._layer_id(problems), content)

    @contextmanager
    def layer(self, problems: Sequence[Problem], index: int, loggers: Loggers) -> Iterator["LayerRuns"]:
        """Hold the runs of a layer open.

        Args:
            problems: All problems of the layer.
            index: Place of the layer in the network.
            loggers: All loggers if something is left to invert, otherwise those of :meth:`missing`.
        """
        if not loggers:
            yield LayerRuns(self, [], {})
            return
        facts = {**self.facts, "layer": problems[0].layer, "layer_index": index}
        with self._open(loggers, self._layer_id(problems), facts) as runs:
            self.call("on_layer_start", runs)
            yield LayerRuns(self, runs, facts)

    @contextmanager
    def training(self, layer: str, key: str) -> Iterator[list[Logger]]:
        """Hold the runs of a readout's training open.

        Args:
            layer: Layer name.
            key: Digest of everything that decides the weights.
        """
        if not self.loggers:
            yield []
            return
        facts = {**self.facts, "layer": layer, "training": True}
        with self._open(self.loggers, self._logbook.run_id("training", key), facts) as runs:
            yield [run.logger for run in runs]

    def sweep(self, results: pd.DataFrame, sizes: pd.DataFrame) -> None:
        """Log the whole sweep unless its run is complete; other results get a run of their own.

        Args:
            results: One row per problem.
            sizes: One row per (layer, sample).
        """
        if results.empty:
            return
        content = self._content(results["key"])
        run_id = self._logbook.run_id("sweep", content)
        if loggers := self._incomplete(run_id, content):
            with self._open(loggers, run_id, self.facts) as runs:
                self.call("on_sweep_end", SweepResults(results, sizes, [run.logger for run in runs], self.facts))
                self.complete(runs, results)

    def call(self, hook: str, *arguments: Any) -> None:
        """Call a hook of every callback."""
        for callback in self._callbacks:
            getattr(callback, hook)(*arguments)

    def complete(self, runs: Iterable[OpenRun], results: pd.DataFrame) -> None:
        """Note that everything made of the results was logged."""
        for run in runs:
            run.entry.content = self._content(results["key"])

    @contextmanager
    def _open(self, specs: Loggers, run_id: str, facts: Facts) -> Iterator[list[OpenRun]]:
        logged = {**facts, "configuration": dict(self._config)}
        labels = RunLabels(run_id, _name(facts), self._store.folder, logged)
        with ExitStack() as opened:
            yield [opened.enter_context(self._run(spec, labels)) for spec in specs]

    @contextmanager
    def _run(self, spec: Mapping[str, Any], labels: RunLabels) -> Iterator[OpenRun]:
        """Hold a run open in one logger; save its entry only after closing it, because a killed logger loses values."""
        with explained(logging_folder(spec, labels.output), OSError):
            adapter = open_run(spec, labels)
            run, failed = OpenRun(adapter.logger, self._logbook.entry(labels.id, spec)), True
            try:
                yield run
                failed = False
            finally:
                adapter.finish(failed)
                run.entry.save()

    def _incomplete(self, run_id: str, content: str) -> Loggers:
        return [spec for spec in self.loggers if self._logbook.entry(run_id, spec).content != content]

    def _content(self, keys: Iterable[str]) -> str:
        return digest([sorted(keys), self._judgement])

    def _layer_id(self, problems: Sequence[Problem]) -> str:
        """Return the run id; adding levels continues a run, other inputs or draws start one, as its means differ."""
        of = {(problem.setting, problem.seed, problem.layer) for problem in problems}
        inputs = {(problem.sample, problem.input_digest, problem.draw) for problem in problems}
        return self._logbook.run_id("layer", sorted(map(list, of)), sorted(map(list, inputs)))


@dataclass(frozen=True)
class LayerRuns:
    """The open runs of one layer; see :meth:`Dashboard.layer`."""

    dashboard: Dashboard
    runs: Sequence[OpenRun]
    facts: Facts

    @property
    def loggers(self) -> list[Logger]:
        """The loggers of the runs."""
        return [run.logger for run in self.runs]

    def batch_stored(self) -> None:
        """Tell callbacks that a batch is stored."""
        if self.runs:
            self.dashboard.call("on_batch_stored")

    def finish(
        self, table: pd.DataFrame, sizes: pd.DataFrame, inputs: Mapping[str, Tensor], recovered: Mapping[str, Tensor]
    ) -> None:
        """Log the results of the layer; arguments as for :class:`readout.callbacks.LayerResults`."""
        layer = self.facts["layer"]
        results = LayerResults(layer, table, sizes, inputs, recovered, self.runs, self.facts)
        self.dashboard.call("on_layer_end", results)
        self.dashboard.complete(self.runs, table)


def _name(facts: Facts) -> str:
    """Return the name of a run; learning rates are in it, and of a whole sweep all that starts another run."""
    rate = "" if facts["lr"] is None else f", lr {facts['lr']:g}"
    readout = facts["readout"]
    if facts["prior"]:
        readout = f"{facts['prior']}, {facts['protocol']}, {facts['steps']} steps{rate}"
    if "training" in facts:
        readout = f"training of {readout}"
    if "layer" in facts:
        return f"{facts['model']} {facts['layer']} · {readout}"
    count = len(facts["levels"])
    judged = f"{count} level{'s' * (count > 1)}, {facts['estimator']}, threshold {facts['threshold']:g}"
    return f"{facts['model']} all layers · {readout} · {judged}"
