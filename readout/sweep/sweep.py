"""Sweep: representation sizes over layers × levels × draws × inputs."""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from rich.console import Console
from torch import Tensor

from readout.analysis.gallery import shown_samples
from readout.analysis.report import PAGE, write_report
from readout.analysis.sizes import print_sizes, sizes_table
from readout.analysis.words import inverted_keys, not_inverted
from readout.codes import LayerCoder
from readout.common.checks import check_choice, check_layer_names, check_whole
from readout.common.errors import ReadoutError
from readout.common.terminal import make_console, say, say_where
from readout.data import InputData, Samples, load_samples
from readout.data.images import is_image
from readout.executors import Executor, Here
from readout.perturbations import GaussianPerturbation, Perturbation, check_levels
from readout.prediction.beside import check_predictable, predict_beside
from readout.problems import check_problems, cross
from readout.problems.design import FILE as DESIGN
from readout.problems.design import Design
from readout.problems.identity import describe
from readout.problems.search import Search
from readout.readouts import Readout
from readout.readouts.run import Row, make_batch, readout_columns
from readout.representation import Estimator
from readout.store import ResultStore
from readout.sweep.driver import Driver, make_setting
from readout.sweep.facts import dashboard_of
from readout.sweep.options import RunOptions
from readout.sweep.plan import Plan, size_in_words
from readout.sweep.runtime import Runtime, quiet_lightning


class Sweep:
    """Representation sizes over layers × levels × draws × inputs; finished problems are kept.

    Args:
        layers: Layer names, ``all``, or ``depth:FRACTION`` (0 the first layer, 1 the last).
        levels: Perturbation levels: target correlation distances in [0, 1). Keep 0 among them, to tell
            "the feature is lost" from "the readout never works".
        draws: Independent noise draws per level.
        readings: Independent starts of an iterative readout from each perturbed feature. A level counts as recovered if
            every reading is, because an input is represented only if all of π(h') is near it.
        threshold: t; an input is recovered if d_X < t. Default: the paper's for the metric, 0.1 for images and 0.3
            for texts.
        output: Output folder.
        resume: Keep finished results; false refuses a folder that holds any.
        perturbation: Default: Gaussian noise at an expected correlation distance.
        batch_size: Problems side by side in one ``Trainer.fit``; ``auto`` fits the free memory.
        search: ``grid`` inverts every level; ``bisection`` finds the largest recovered one from a few, and falls back
            to the grid for inputs whose recovery is not monotone in the level.
        estimator: Estimator of sizes: ``max`` (the paper's), ``contiguous`` or ``crossing``.
        predict: For images: also predict every curve from the network's Jacobian
            (:func:`readout.prediction.predict_size`). Takes seconds per (layer, input).
        tolerance: An inversion has converged if its loss exceeds the loss at the true input by at most this share of
            the loss of the feature's mean (its variance, for a squared error).
        denoiser: Sparse coder of a dictionary of the layer, in front of the readout: features are read from the sum of
            atoms that their code stands for.
        plan_only: Print the plan and stop.
        checkpoint_minutes: Time between checkpoints of the running batch; None writes one only when a stop is
            requested.
        executor: Where batches run; default: in this process. :class:`readout.executors.Ray` shares them among GPUs
            and machines.

    Raises:
        ReadoutError: if an argument is out of range.
    """

    def __init__(
        self,
        layers: str | int | Sequence[str | int] = "all",
        levels: Sequence[float] = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99),
        draws: int = 1,
        readings: int = 1,
        threshold: float | None = None,
        output: str = "runs/readout",
        resume: bool = True,
        perturbation: Perturbation | None = None,
        batch_size: int | Literal["auto"] = "auto",
        search: Literal["grid", "bisection"] = "grid",
        estimator: Literal["max", "contiguous", "crossing"] = "max",
        predict: bool = False,
        tolerance: float = 1e-4,
        denoiser: LayerCoder | None = None,
        plan_only: bool = False,
        checkpoint_minutes: float | None = 5,
        executor: Executor | None = None,
    ) -> None:
        self.levels = sorted(set(check_levels(levels)))
        self.draws = check_whole("draws", draws, 1)
        self.readings = check_whole("readings", readings, 1)
        check_choice("search", search, get_args(Search))
        check_choice("estimator", estimator, [each.value for each in Estimator])
        own = (resume, threshold, tolerance, batch_size, checkpoint_minutes)
        self.options = RunOptions(Path(output), *own, executor or Here())
        self.layers = check_layer_names("layers", layers)
        self.perturbation = perturbation or GaussianPerturbation()
        self.search: Search = search
        self.estimator = Estimator(estimator)
        self.predict = predict
        self.denoiser = denoiser
        self.plan_only = plan_only

    def run(self, readout: Readout, data: InputData, runtime: Runtime, console: Console | None = None) -> pd.DataFrame:
        """Run unfinished problems, write the output folder and print the sizes.

        Args:
            readout: The readout, with its extractor.
            data: The inputs.
            runtime: Trainers, loggers, configuration and seed.
            console: Where plan, progress and table go.

        Returns:
            Sizes, one row per (model, layer, sample); empty with ``plan_only``.

        Raises:
            ReadoutError: if an argument can't be used.
        """
        console = console or make_console()
        inverted = self._invert(readout, data, runtime, console, console, trajectories=False)
        if inverted is None:
            return pd.DataFrame()
        results, _ = inverted
        sizes = self._finish(results, report=True)
        print_sizes(sizes, results, console)
        say_where(console, self.options.output / PAGE)
        return sizes

    def measure(
        self, readout: Readout, data: InputData, runtime: Runtime, console: Console, report: bool = True
    ) -> tuple[pd.DataFrame, pd.DataFrame, Mapping[str, Tensor]]:
        """Run like :meth:`run`, printing only progress.

        Args:
            readout: The readout, with its extractor.
            data: The inputs.
            runtime: Trainers, loggers, configuration and seed.
            console: Where progress goes.
            report: Write figures and page.

        Returns:
            One row per problem, trajectories included; one row per (model, layer, sample); and the inputs by sample
            name, loaded when they are asked for.

        Raises:
            ReadoutError: if an argument can't be used.
        """
        quiet = Console(quiet=True, force_jupyter=False)
        inverted = self._invert(readout, data, runtime, quiet, console, trajectories=True)
        if inverted is None:
            raise ReadoutError("plan_only prints a plan, so there is nothing to return; leave it out.")
        results, inputs = inverted
        return results, self._finish(results, report), inputs

    def _finish(self, results: pd.DataFrame, report: bool) -> pd.DataFrame:
        """Write sizes, and optionally the page."""
        sizes = sizes_table(results, self.estimator)
        ResultStore(self.options.output).write_text("sizes.csv", sizes.to_csv(index=False))
        if report:
            write_report(self.options.output, results, sizes)
        return sizes

    def _invert(
        self,
        readout: Readout,
        data: InputData,
        runtime: Runtime,
        console: Console,
        progress_on: Console,
        trajectories: bool,
    ) -> tuple[pd.DataFrame, Mapping[str, Tensor]] | None:
        """Run unfinished problems; return all results of the sweep and its inputs, or None with ``plan_only``."""
        samples = self._load(readout, data)
        runtime = runtime.on(self.options.executor)
        with quiet_lightning(), ExitStack() as held:
            driver = self._driver(readout, samples, runtime, progress_on)
            held.enter_context(driver.working())
            with console.status("checking each layer and the cost of a step there"):
                plan = driver.plan(progress_on)
            plan.show(console, self._task(plan, driver.shapes, type(data).__name__))
            if self.plan_only:
                return None
            dashboard = dashboard_of(driver, plan, self._judgement(driver.threshold), self._facts())
            results = driver.run(plan, dashboard, partial(self._keep, driver, samples), progress_on, trajectories)
            if self.predict:
                with console.status("predicting curves from the Jacobian"):
                    self._predict(driver, results)
            if dashboard.loggers:
                dashboard.sweep(results, sizes_table(results, self.estimator))
        for sentence in not_inverted(results):
            say(progress_on, sentence)
        return results, driver.inputs

    def _load(self, readout: Readout, data: InputData) -> Samples:
        """Load the inputs; check their kind and their number."""
        extractor = readout.extractor
        # layers found by running the network are known only once the shape of the inputs is
        named = len(extractor.resolve(self.layers)) if extractor.layers_named else 1
        most = partial(check_problems, levels=len(self.levels), draws=self.draws * self.readings)
        samples = load_samples(data, extractor, lambda inputs: most(named, inputs=inputs))
        first = next(iter(samples.values())).input
        extractor.find_layers(readout.embed(first.unsqueeze(0)))
        most(len(extractor.resolve(self.layers)), inputs=len(samples))
        if self.readings > 1 and not readout.iterative:
            raise ReadoutError(
                f"{type(readout).__name__} reads a feature the same way every time, so more readings add nothing; "
                "leave out sweep.readings."
            )
        readout.denoiser = self.denoiser
        readout.meet(samples, first.shape if first.is_floating_point() else None)
        self.perturbation.meet(samples)
        readout.check_scores(first)
        if self.predict:
            check_predictable(readout.metric, list(samples.shapes.values()))
        return samples

    def _driver(self, readout: Readout, samples: Samples, runtime: Runtime, console: Console) -> Driver:
        """Form all problems, and open the output folder."""
        threshold, layers = self.options.threshold_for(readout.metric), readout.extractor.resolve(self.layers)
        store = self.options.open_store("sweep", console)
        setting = make_setting(readout, describe(self.perturbation), runtime)
        digests = [(name, readout.input_digest(metadata)) for name, metadata in samples.metadata.items()]
        return Driver(
            readout=readout,
            inputs=samples.inputs,
            shapes=samples.shapes,
            problems={
                layer: cross(setting.digest, digests, layer, self.levels, self.draws, runtime.seed, self.readings)
                for layer in layers
            },
            setting=setting,
            perturbation=self.perturbation,
            example=partial(make_batch, perturbation=self.perturbation),
            label=partial(
                _labelled,
                depths={layer: depth for depth, layer in enumerate(readout.extractor.layers)},
                labels={name: metadata.label for name, metadata in samples.metadata.items()},
                columns=readout_columns(readout, setting.network),
            ),
            store=store,
            options=self.options.for_readout(setting.readout),
            threshold=threshold,
            runtime=runtime,
            search=self.search,
            estimator=self.estimator,
            pictured=set(shown_samples(samples, len(layers), len(self.levels))),
        )

    def _keep(self, driver: Driver, samples: Samples) -> None:
        """Write what describes the results: design and true inputs."""
        store, setting, seed = driver.store, driver.setting.digest, driver.runtime.seed
        layers, names = list(driver.problems), list(samples)
        design = Design(setting, seed, self.search, layers, names, self.levels, self.draws, self.readings)
        store.write_text(DESIGN, design.to_json())
        for name, metadata in samples.metadata.items():
            # asked before it is loaded, which takes longer
            if is_image(metadata.like) and not store.holds_input(name, metadata.digest):
                store.save_input(name, samples[name].input)

    def _predict(self, driver: Driver, results: pd.DataFrame) -> None:
        """Predict the curves of all problems that could be inverted."""
        extractor = driver.readout.extractor
        extractor.to(driver.runtime.make_bare_trainer().strategy.root_device)  # a fit leaves the network on the CPU
        ran = set(inverted_keys(results))
        problems = [each for each in itertools.chain(*driver.problems.values()) if each.key in ran]
        predict_beside(driver.store, extractor, driver.setting.network, problems, driver.inputs, driver.threshold)

    def _judgement(self, threshold: float) -> dict[str, Any]:
        """Describe what turns results into verdicts and sizes."""
        return {"threshold": threshold, "tolerance": self.options.tolerance, "estimator": self.estimator.value}

    def _facts(self) -> dict[str, Any]:
        """Describe the sweep, for runs in loggers."""
        perturbation = type(self.perturbation).__name__
        return {
            "levels": self.levels,
            "draws": self.draws,
            "readings": self.readings,
            "search": self.search,
            "perturbation": perturbation,
        }

    def _task(self, plan: Plan, shapes: Mapping[str, Tensor], data: str) -> dict[str, str]:
        """Describe what the sweep crosses, in words, for the plan."""
        layers, levels = len(plan.layers), len(self.levels)
        total = layers * levels * self.draws * self.readings * len(shapes)
        times = f"{self.draws} draws × " + (f"{self.readings} readings × " if self.readings > 1 else "")
        crossed = f"{total:,} = {layers} layers × {levels} levels × {times}{len(shapes)} inputs"
        searched = f", of which {self.search} wants at most {plan.finished + plan.remaining:,}"
        done = f"; {plan.finished:,} already done" if plan.finished else ""
        return {
            "layers": ", ".join(layer.layer for layer in plan.layers),
            "levels": ", ".join(f"{level:g}" for level in self.levels),
            "inputs": f"{len(shapes)} of {size_in_words(shapes.values())} from {data}",
            plan.unit: crossed + (searched if self.search != "grid" else "") + done,
        }


def _labelled(
    rows: list[Row],
    recovered: list[Tensor],
    inputs: Mapping[str, Tensor],
    depths: Mapping[str, int],
    labels: Mapping[str, str | None],
    columns: Mapping[str, Any],
) -> pd.DataFrame:
    """Add labels, layer indices and the columns that all rows share."""
    table = pd.DataFrame(rows)
    label = pd.Series([labels[name] for name in table["sample"]], dtype="string")
    return table.assign(layer_index=table["layer"].map(depths), label=label, **columns)
