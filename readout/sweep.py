"""The driver: layers × levels × draws × inputs, one ``Trainer.fit`` a batch, results into the store."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd
import yaml
from lightning.pytorch import Trainer
from rich.console import Console
from torch import Tensor

from readout.analysis.report import PAGE, write_report
from readout.analysis.sizes import print_sizes, sizes_table
from readout.callbacks import SweepProgress
from readout.dashboard import Dashboard, dashboard_of
from readout.data import InputData, Sample, load_samples
from readout.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.identity import digest, settings, tensor_digest
from readout.interruptions.checkpoints import FOLDER, LayerCheckpoint, batches_left, check_minutes, tidy
from readout.interruptions.claims import in_turn
from readout.interruptions.signals import Stop, stoppable
from readout.inversions import FeatureInversion
from readout.inversions.base import optimisation_steps
from readout.inversions.run import Row, invert, make_batch, readout_columns
from readout.metrics import SampleMetric
from readout.perturbations import GaussianPerturbation, Perturbation, check_levels
from readout.plan import Cost, LayerPlan, Plan, automatic_batch_size, probe, size_in_words, title, unfinished
from readout.prediction.beside import predict_beside
from readout.problems import Problem, batches, cross
from readout.representation import Estimator
from readout.runtime import Runtime, quiet_lightning
from readout.search import Search, most_levels, wanted_now
from readout.store import ResultStore, judge

PROBE_PROBLEMS = 4
"""A few problems side by side cost nearly what each of a full batch costs."""


class Sweep:
    """Plans inversions over layers × levels × draws × inputs and runs what is not done yet.

    Args:
        layers: Layer names, ``all``, or ``depth:FRACTION`` (0 the first layer, 1 the last).
        levels: Perturbation levels: target correlation distances in [0, 1). Keep 0 among them, to tell
            "the feature is lost" from "the readout never works".
        draws: Independent noise draws a level.
        threshold: t: an input is recovered where d_X < t. Default: the paper's for the metric, 0.1 for images and
            0.3 for texts.
        output: Folder for everything that comes out.
        resume: Keep what is finished; false refuses a folder that holds results.
        perturbation: How features are moved. Default: Gaussian at an expected correlation distance.
        batch_size: Problems side by side in one ``Trainer.fit``; ``auto`` fits the free memory.
        search: ``grid`` inverts every level; ``bisection`` finds the largest recovered one from a few, and goes back
            to the grid for inputs whose recovery is not monotone in the level.
        estimator: How sizes are read off: ``max`` (the paper's), ``contiguous`` or ``crossing``.
        predict: For images: predict every curve from the network's Jacobian too
            (:func:`readout.prediction.predict_size`), as a line beside it. Takes seconds a (layer, input).
        tolerance: An inversion has converged if its loss lies at most so far above the loss at the true
            input, as a share of the loss of the feature's mean (its variance, for a squared error).
        plan_only: Print the plan and stop.
        checkpoint_minutes: Time between checkpoints of the batch that is running; None for one only when asked to stop.

    Raises:
        ReadoutError: if a setting is out of range.
    """

    def __init__(
        self,
        layers: str | Sequence[str] = "all",
        levels: Sequence[float] = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99),
        draws: int = 1,
        threshold: float | None = None,
        output: str = "runs/readout",
        resume: bool = True,
        perturbation: Perturbation | None = None,
        batch_size: int | Literal["auto"] = "auto",
        search: Literal["grid", "bisection"] = "grid",
        estimator: Literal["max", "contiguous", "crossing"] = "max",
        predict: bool = False,
        tolerance: float = 1e-4,
        plan_only: bool = False,
        checkpoint_minutes: float | None = 5,
    ) -> None:
        check_levels(levels)
        if not levels:
            raise ReadoutError("No levels were given; for example `sweep.levels: [0, 0.5, 0.9]`.")
        if draws < 1:
            raise ReadoutError(f"draws is {draws}; at least 1 noise draw is needed.")
        if threshold is not None and threshold <= 0:
            raise ReadoutError(f"threshold is {threshold:g}; it must be above 0, because recovery means d_X < t.")
        if tolerance < 0:
            raise ReadoutError(f"tolerance is {tolerance:g}; it can't be negative.")
        if isinstance(batch_size, int) and batch_size < 1:
            raise ReadoutError(f"batch_size is {batch_size}; give at least 1, or 'auto'.")
        check_minutes(checkpoint_minutes)
        self.layers = [layers] if isinstance(layers, str) else list(layers)
        if search not in ("grid", "bisection"):
            raise ReadoutError(f"search is {search!r}; choose 'grid' or 'bisection'.")
        self.levels = sorted({float(level) for level in levels})
        self.draws = draws
        self.threshold = threshold
        self.output = Path(output)
        self.resume = resume
        self.perturbation = perturbation or GaussianPerturbation()
        self.batch_size = batch_size
        self.search: Search = search
        self.estimator = Estimator(estimator)
        self.predict = predict
        self.tolerance = tolerance
        self.plan_only = plan_only
        self.checkpoint_minutes = checkpoint_minutes

    def run(
        self, inversion: FeatureInversion, data: InputData, runtime: Runtime, console: Console | None = None
    ) -> pd.DataFrame:
        """Run what is not done yet and write everything the output folder should hold.

        Args:
            inversion: The readout, with its extractor.
            data: The inputs.
            runtime: Trainers, loggers, configuration and seed.
            console: Where plan, progress and table go.

        Returns:
            The sizes, one row a (model, layer, sample); empty with ``plan_only``.

        Raises:
            ReadoutError: if anything the user gave can't be used.
        """
        console = console or Console()
        results = self._invert(inversion, data, runtime, console, console)
        if results is None:
            return pd.DataFrame()
        sizes = self._finish(results, report=True)
        print_sizes(sizes, results, console)
        console.print(f"[bold]report[/bold] {self.output / PAGE}")
        return sizes

    def measure(
        self, inversion: FeatureInversion, data: InputData, runtime: Runtime, console: Console, report: bool = True
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The same without a word but progress.

        Args:
            inversion: The readout, with its extractor.
            data: The inputs.
            runtime: Trainers, loggers, configuration and seed.
            console: Where progress goes.
            report: Write figures and page.

        Returns:
            One row a problem, trajectories included, and one row a (model, layer, sample).

        Raises:
            ReadoutError: if anything the user gave can't be used.
        """
        results = self._invert(inversion, data, runtime, Console(quiet=True, force_jupyter=False), console)
        if results is None:
            raise ReadoutError("plan_only prints a plan, so there is nothing to return; leave it out.")
        return results, self._finish(results, report)

    def _finish(self, results: pd.DataFrame, report: bool) -> pd.DataFrame:
        """Write sizes, and the page if wanted."""
        sizes = sizes_table(results, self.estimator)
        ResultStore(self.output).write_text("sizes.csv", sizes.to_csv(index=False))
        if report:
            write_report(self.output, results, sizes)
        return sizes

    def _invert(
        self,
        inversion: FeatureInversion,
        data: InputData,
        runtime: Runtime,
        console: Console,
        progress_on: Console,
    ) -> pd.DataFrame | None:
        """Invert what is not done yet, and return the results of the whole sweep; None with ``plan_only``."""
        threshold = self._threshold(inversion.metric)
        judged = partial(judge, threshold=threshold, tolerance=self.tolerance)
        samples = load_samples(data, inversion.extractor)
        inputs = {name: sample.input for name, sample in samples.items()}
        store = ResultStore(self.output)
        if not self.resume and store.finished():
            raise ReadoutError(f"{str(self.output)!r} holds results; choose another output, or drop `resume: false`.")
        for sentence in store.set_aside_broken():
            progress_on.print(sentence, highlight=False, soft_wrap=True)
        with quiet_lightning():
            fingerprint = inversion.extractor.fingerprint()
            trainer = runtime.make_bare_trainer()
            steps = inversion.steps(optimisation_steps(trainer), inputs.values())
            problems = self._problems(inversion, fingerprint, inputs, trainer, runtime.seed)
            with console.status("checking each layer, and what a step costs there"):
                plan = self._plan(
                    inversion, type(data).__name__, problems, inputs, steps, runtime, store.load(), judged
                )
            plan.show(console)
            if self.plan_only:
                return None
            store.write_text("config.yaml", yaml.safe_dump(dict(runtime.config), sort_keys=False))
            for name, x in inputs.items():
                store.save_input(name, x)
            shared = readout_columns(inversion, fingerprint)
            judgement = {"threshold": threshold, "tolerance": self.tolerance, "estimator": self.estimator.value}
            perturbation = type(self.perturbation).__name__
            dashboard = dashboard_of(inversion, shared, plan, inputs, runtime, store, judgement, perturbation)
            finished = store.finished() if runtime.loggers else set()
            wanted = [layer for layer in plan.layers if layer.remaining or dashboard.missing(layer, finished)]
            with (
                stoppable() as stop,
                SweepProgress(plan, progress_on) as progress,
                closing(in_turn(wanted, self.output / FOLDER, stop, progress_on)) as turns,
            ):
                for layer_plan in turns:
                    self._run_layer(layer_plan, inversion, shared, samples, dashboard, store, progress, judged, stop)
            tidy(self.output)
            everything = list(itertools.chain(*problems.values()))
            results = judged(_of(store.load(trajectories=True), everything))
            if self.predict:
                with console.status("predicting curves from the Jacobian"):
                    predict_beside(store, inversion.extractor, fingerprint, everything, inputs, threshold)
            if runtime.loggers:
                dashboard.sweep(results, sizes_table(results, self.estimator))
        return results

    def _problems(
        self,
        inversion: FeatureInversion,
        fingerprint: str,
        inputs: Mapping[str, Tensor],
        trainer: Trainer,
        seed: int,
    ) -> dict[str, list[Problem]]:
        """All problems by layer."""
        if trainer.world_size > 1:
            raise ReadoutError(
                f"A sweep runs on one device, not {trainer.world_size}; set `trainer.devices: 1` and start the same "
                "command for each device, on the same output: they share the layers."
            )
        extractor = inversion.extractor
        layers = extractor.resolve(self.layers)
        readout = [fingerprint, inversion.describe(), settings(self.perturbation)]
        setting = digest([*readout, trainer.max_steps, str(trainer.precision)])[:16]
        named = [(name, tensor_digest([("input", x)])) for name, x in inputs.items()]
        return {layer: cross(setting, named, layer, self.levels, self.draws, seed) for layer in layers}

    def _plan(
        self,
        inversion: FeatureInversion,
        data: str,
        problems: Mapping[str, list[Problem]],
        inputs: Mapping[str, Tensor],
        steps: int,
        runtime: Runtime,
        known: pd.DataFrame,
        judged: Callable[[pd.DataFrame], pd.DataFrame],
    ) -> Plan:
        layers = []
        finished = set(known["key"])
        for layer, wanted in problems.items():
            missing = wanted_now(wanted, judged(_of(known, wanted)), self.search)
            done = sum(problem.key in finished for problem in wanted)
            if not missing:
                layers.append(LayerPlan(layer, wanted, [], Cost(), done, 0, 1))
                continue
            # the longest, where lengths differ
            probed = sorted(missing, key=lambda problem: -inputs[problem.sample].numel())[:PROBE_PROBLEMS]
            cost = probe(inversion, make_batch(probed, inputs, self.perturbation), runtime)
            size = self.batch_size
            if size == "auto":
                size = automatic_batch_size(cost.problem_bytes, cost.device)
            groups, most = unfinished(wanted, size, finished), len(wanted)
            if self.search == "bisection":
                groups, most = [], len(inputs) * self.draws * most_levels(self.levels)
            layers.append(LayerPlan(layer, wanted, groups, cost, done, max(most - done, len(missing)), size))
        return Plan(
            title=title(inversion),
            layers=layers,
            levels=self.levels,
            draws=self.draws,
            samples=len(inputs),
            inputs=f"{len(inputs)} of {size_in_words(inputs.values())} from {data}",
            steps=steps,
            output=self.output,
            search=self.search,
        )

    def _run_layer(
        self,
        plan: LayerPlan,
        inversion: FeatureInversion,
        shared: Mapping[str, str],
        samples: Mapping[str, Sample],
        dashboard: Dashboard,
        store: ResultStore,
        progress: SweepProgress,
        judged: Callable[[pd.DataFrame], pd.DataFrame],
        stop: Stop,
    ) -> None:
        limit = None if self.batch_size == "auto" else self.batch_size
        checkpoint = LayerCheckpoint(self.output, plan, self.checkpoint_minutes, stop, progress.console, limit)
        batches = self._batches(plan, store, judged, checkpoint)
        progress.start_layer(plan)
        first = list(itertools.islice(batches, 1))
        if not first and not dashboard.missing(plan, store.finished()):  # another process has done all of it
            progress.layer_done()
            return
        inputs = {name: sample.input for name, sample in samples.items()}
        with dashboard.layer(plan, list(inversion.extractor.layers).index(plan.layer)) as runs:

            def fit(inversion: FeatureInversion) -> None:
                checkpoint.fit(dashboard.runtime.make_trainer(runs.loggers, progress, checkpoint), inversion)

            for batch in itertools.chain(first, batches):
                stop.check()
                progress.start(batch)
                attempt = checkpoint.attempt(batch)
                rows, recovered = invert(inversion, batch, inputs, self.perturbation, fit, attempt)
                table = _labelled(rows, inversion.extractor, samples).assign(**shared)
                store.append(judged(table), recovered)
                checkpoint.stored()
                runs.batch_stored()
                progress.done()
            checkpoint.layer_done()
            if runs.loggers:
                results = judged(_of(store.load(trajectories=True), plan.problems))
                recovered_inputs = store.load_recovered(results["key"])
                runs.finish(results, sizes_table(results, self.estimator), inputs, recovered_inputs)
        progress.layer_done()

    def _batches(
        self,
        plan: LayerPlan,
        store: ResultStore,
        judged: Callable[[pd.DataFrame], pd.DataFrame],
        checkpoint: LayerCheckpoint,
    ) -> Iterator[list[Problem]]:
        """The batches of a layer, first the one that was interrupted; a search learns from each round what the next is.

        The store is asked before each, because another process may have been at work.
        """
        if self.search == "grid":
            yield from batches_left(plan.batches, store, checkpoint)
            return
        yield from batches_left(checkpoint.round(store.finished()), store, checkpoint)
        while wanted := wanted_now(plan.problems, judged(_of(store.load(), plan.problems)), self.search):
            groups = list(batches(wanted, plan.batch_size))
            checkpoint.begin_round(groups)
            yield from batches_left(groups, store, checkpoint)

    def _threshold(self, metric: SampleMetric) -> float:
        threshold = self.threshold or metric.threshold
        if threshold is None:
            raise ReadoutError(f"The paper has no threshold for {metric.name}; set sweep.threshold.")
        return threshold


def _labelled(rows: list[Row], extractor: FeatureExtractor, samples: Mapping[str, Sample]) -> pd.DataFrame:
    """Rows with their labels and the place of the layer."""
    table = pd.DataFrame(rows)
    depth = {layer: place for place, layer in enumerate(extractor.layers)}
    labels = pd.Series([samples[name].label for name in table["sample"]], dtype="string")
    return table.assign(layer_index=table["layer"].map(depth), label=labels)


def _of(results: pd.DataFrame, problems: Iterable[Problem]) -> pd.DataFrame:
    """The results of these problems."""
    keys = {problem.key for problem in problems}
    return results[results["key"].isin(keys)].reset_index(drop=True)
