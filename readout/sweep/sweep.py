"""The driver: layers × levels × draws × inputs, one ``Trainer.fit`` a batch, results into the store."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
from rich.console import Console
from torch import Tensor

from readout.analysis.report import PAGE, write_report
from readout.analysis.sizes import print_sizes, sizes_table
from readout.analysis.words import not_inverted
from readout.callbacks.dashboard import Dashboard
from readout.common.checks import check_choice, check_layer_names, check_whole
from readout.common.errors import ReadoutError
from readout.common.terminal import make_console, say, say_where
from readout.data import InputData, Sample, load_samples
from readout.extractors import FeatureExtractor
from readout.inversions import FeatureInversion
from readout.inversions.base import optimisation_steps
from readout.inversions.run import Row, make_batch, readout_columns
from readout.perturbations import GaussianPerturbation, Perturbation, check_levels
from readout.prediction.beside import check_predictable, predict_beside
from readout.problems import Problem, Setting, batches, check_problems, cross
from readout.problems.design import FILE as DESIGN
from readout.problems.design import Design
from readout.problems.identity import describe, tensor_digest
from readout.problems.search import Search, most_levels, wanted_now
from readout.representation import Estimator
from readout.store import ResultStore
from readout.sweep.checkpoints import batches_left
from readout.sweep.facts import dashboard_of
from readout.sweep.independence import check_independent
from readout.sweep.loop import Turn, Work
from readout.sweep.options import RunOptions
from readout.sweep.plan import LayerPlan, Plan, plan_layer, size_in_words, title
from readout.sweep.runtime import Runtime, quiet_lightning


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
        layers: str | int | Sequence[str | int] = "all",
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
        self.levels = sorted(set(check_levels(levels)))
        self.draws = check_whole("draws", draws, 1)
        check_choice("search", search, get_args(Search))
        check_choice("estimator", estimator, [each.value for each in Estimator])
        self.options = RunOptions(Path(output), resume, threshold, tolerance, batch_size, checkpoint_minutes)
        self.layers = check_layer_names("layers", layers)
        self.perturbation = perturbation or GaussianPerturbation()
        self.search: Search = search
        self.estimator = Estimator(estimator)
        self.predict = predict
        self.plan_only = plan_only

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
        console = console or make_console()
        results = self._invert(inversion, data, runtime, console, console)
        if results is None:
            return pd.DataFrame()
        sizes = self._finish(results, report=True)
        print_sizes(sizes, results, console)
        say_where(console, self.options.output / PAGE)
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
        ResultStore(self.options.output).write_text("sizes.csv", sizes.to_csv(index=False))
        if report:
            write_report(self.options.output, results, sizes)
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
        threshold = self.options.threshold_for(inversion.metric)
        extractor = inversion.extractor
        # layers that are found by running the network are known once the shape of the inputs is
        named = len(extractor.resolve(self.layers)) if extractor.layers_named else 1
        samples = load_samples(data, extractor, partial(check_problems, named, len(self.levels), self.draws))
        inputs = {name: sample.input for name, sample in samples.items()}
        extractor.find_layers(inversion.embed(next(iter(inputs.values())).unsqueeze(0)))
        check_problems(len(extractor.resolve(self.layers)), len(self.levels), self.draws, len(inputs))
        inversion.check_scores(next(iter(inputs.values())))
        if self.predict:
            check_predictable(inversion.metric, inputs.values())
        store = self.options.open_store("sweep", progress_on)
        with quiet_lightning():
            fingerprint = inversion.extractor.fingerprint()
            trainer = runtime.make_bare_trainer()
            steps = inversion.steps(optimisation_steps(trainer), inputs.values())
            if trainer.world_size > 1:
                raise ReadoutError(
                    f"A sweep runs on one device, not {trainer.world_size}; set `trainer.devices: 1` and start the "
                    "same command for each device, on the same output: they share the layers."
                )
            moved_by, precision = describe(self.perturbation), str(trainer.precision)
            readout = inversion.describe(trainer.max_steps)
            setting = Setting(fingerprint, readout, moved_by, trainer.max_steps, precision)
            problems = self._problems(setting, inversion.extractor, inputs, runtime.seed)
            everything = list(itertools.chain(*problems.values()))
            columns = readout_columns(inversion, fingerprint)
            complete = partial(_labelled, extractor=inversion.extractor, samples=samples, columns=columns)
            options = self.options.for_readout(readout)
            work = Work(inversion, inputs, self.perturbation, store, options, threshold, complete)
            with console.status("checking each layer, and what a step costs there"):
                plan = self._plan(work, problems, steps, type(data).__name__, runtime)
            plan.show(console)
            if self.plan_only:
                return None
            judgement = {
                "threshold": threshold,
                "tolerance": self.options.tolerance,
                "estimator": self.estimator.value,
            }
            perturbation = type(self.perturbation).__name__
            dashboard = dashboard_of(inversion, columns, plan, inputs, runtime, store, judgement, perturbation)

            def run(again: bool) -> None:
                self._keep(work, setting, problems, runtime)
                now = self._plan(work, problems, steps, type(data).__name__, runtime) if again else plan
                self._run_layers(now, work, dashboard, runtime, progress_on)

            work.until_whole(run, partial(self._lacking, work, problems), progress_on)
            results = work.results(everything, trajectories=True)
            if self.predict:
                with console.status("predicting curves from the Jacobian"):
                    # a fit leaves the network on the CPU
                    extractor.to(trainer.strategy.root_device)
                    ran = set(results["key"] if "reason" not in results else results[results["reason"].isna()]["key"])
                    predicted = [problem for problem in everything if problem.key in ran]
                    predict_beside(store, extractor, fingerprint, predicted, inputs, threshold)
            if runtime.loggers:
                dashboard.sweep(results, sizes_table(results, self.estimator))
        for sentence in not_inverted(results):
            say(progress_on, sentence)
        return results

    def _problems(
        self, setting: Setting, extractor: FeatureExtractor, inputs: Mapping[str, Tensor], seed: int
    ) -> dict[str, list[Problem]]:
        """All problems by layer."""
        named = [(name, tensor_digest([("input", x)])) for name, x in inputs.items()]
        layers = extractor.resolve(self.layers)
        return {layer: cross(setting.digest, named, layer, self.levels, self.draws, seed) for layer in layers}

    def _plan(self, work: Work, problems: Mapping[str, list[Problem]], steps: int, data: str, runtime: Runtime) -> Plan:
        inputs, known = work.inputs, work.results(itertools.chain(*problems.values()))
        plan = Plan(
            title=title(work.inversion),
            layers=[
                self._plan_layer(work, of_layer, known[known["layer"] == layer], runtime)
                for layer, of_layer in problems.items()
            ],
            levels=self.levels,
            draws=self.draws,
            samples=len(inputs),
            inputs=f"{len(inputs)} of {size_in_words(inputs.values())} from {data}",
            steps=steps,
            output=self.options.output,
            search=self.search,
            alone_for=work.options.alone_for,
        )
        layer = next((layer for layer in plan.layers if layer.remaining), None)
        if layer and work.options.batch_size != 1:
            moved_most = max(layer.problems, key=lambda problem: problem.level)
            check_independent(work.inversion, make_batch([moved_most], inputs, self.perturbation), runtime)
        return plan

    def _plan_layer(self, work: Work, problems: Sequence[Problem], known: pd.DataFrame, runtime: Runtime) -> LayerPlan:
        wanted = wanted_now(problems, known, self.search)
        largest_first = sorted(wanted, key=lambda problem: -work.inputs[problem.sample].numel())
        batch = partial(make_batch, inputs=work.inputs, perturbation=self.perturbation)
        plan = plan_layer(
            problems, largest_first, set(known["key"]), work.inversion, batch, work.options.batch_size, runtime
        )
        if self.search == "grid" or not wanted:
            return plan
        most = len(work.inputs) * self.draws * most_levels(self.levels) - plan.finished
        return replace(plan, batches=[], remaining=max(most, len(wanted)), least=len(wanted))

    def _keep(self, work: Work, setting: Setting, problems: Mapping[str, Sequence[Problem]], runtime: Runtime) -> None:
        """Write what the results are read by: setting, configuration, plan and true inputs."""
        store = work.store
        store.write_setting(setting)
        store.write_text("config.yaml", self.options.kept(runtime.config, work.threshold))
        design = Design(setting.digest, runtime.seed, self.search, [*problems], [*work.inputs], self.levels, self.draws)
        store.write_text(DESIGN, design.to_json())
        for name, x in work.inputs.items():
            store.save_input(name, x)

    def _lacking(self, work: Work, problems: Mapping[str, Sequence[Problem]]) -> int:
        """How many results are wanted that the folder does not hold."""
        known = work.results(itertools.chain(*problems.values()))
        by_layer = ((of_layer, known[known["layer"] == layer]) for layer, of_layer in problems.items())
        return sum(len(wanted_now(of_layer, rows, self.search)) for of_layer, rows in by_layer)

    def _run_layers(self, plan: Plan, work: Work, dashboard: Dashboard, runtime: Runtime, console: Console) -> None:
        finished = work.store.finished() if runtime.loggers else set()
        layers = [layer for layer in plan.layers if layer.remaining or dashboard.missing(layer.problems, finished)]
        with work.turns(plan, layers, console) as turns:
            for turn in turns:
                self._run_layer(turn, work, dashboard, runtime)

    def _run_layer(self, turn: Turn, work: Work, dashboard: Dashboard, runtime: Runtime) -> None:
        batches = self._batches(turn, work)
        first = list(itertools.islice(batches, 1))
        loggers = runtime.loggers if first else dashboard.missing(turn.plan.problems, work.store.finished())
        if not first and not loggers:
            return  # another process has done all of it
        place = list(work.inversion.extractor.layers).index(turn.plan.layer)
        with dashboard.layer(turn.plan.problems, place, loggers) as runs:
            make_trainer = partial(runtime.make_trainer, runs.loggers)
            for _ in work.run(turn, itertools.chain(first, batches), make_trainer):
                runs.batch_stored()
            results = work.results(turn.plan.problems, trajectories=True) if runs.loggers else pd.DataFrame()
            if not results.empty:
                recovered = work.store.load_recovered(results["key"])
                runs.finish(results, sizes_table(results, self.estimator), work.inputs, recovered)

    def _batches(self, turn: Turn, work: Work) -> Iterator[list[Problem]]:
        """The batches of a layer, first the one that was interrupted; a search learns from each round what the next is.

        The store is asked before each, because another process may have been at work.
        """
        plan, checkpoint, store = turn.plan, turn.checkpoint, work.store
        if self.search == "grid":
            yield from batches_left(plan.batches, store, checkpoint)
            return
        yield from batches_left(checkpoint.round(store.finished()), store, checkpoint)
        while wanted := wanted_now(plan.problems, work.results(plan.problems), self.search):
            groups = list(batches(wanted, plan.batch_size))
            checkpoint.begin_round(groups)
            yield from batches_left(groups, store, checkpoint)


def _labelled(
    rows: list[Row],
    recovered: list[Tensor],
    extractor: FeatureExtractor,
    samples: Mapping[str, Sample],
    columns: Mapping[str, str],
) -> pd.DataFrame:
    """Rows with their labels, the place of the layer, and what all rows have in common."""
    table = pd.DataFrame(rows)
    depth = {layer: place for place, layer in enumerate(extractor.layers)}
    labels = pd.Series([samples[name].label for name in table["sample"]], dtype="string")
    return table.assign(layer_index=table["layer"].map(depth), label=labels, **columns)
