"""Driver: plans the problems, runs unfinished ones and stores each batch, for sweeps and external features alike."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from readout.callbacks.dashboard import Dashboard
from readout.common.errors import ReadoutError
from readout.common.signals import Stop
from readout.common.terminal import say
from readout.executors import Lost, Watch
from readout.perturbations import Perturbation
from readout.problems import Problem, Setting
from readout.problems.search import Found, Search, most_levels, wanted_now
from readout.readouts import Readout
from readout.readouts.run import inputs_of
from readout.representation import Estimator
from readout.store import ResultStore, judge
from readout.sweep.checkpoints import FOLDER as CHECKPOINTS
from readout.sweep.checkpoints import tidy
from readout.sweep.claims import FILE as CLAIM
from readout.sweep.claims import claimed
from readout.sweep.jobs import Example, Inputs, Label, Probed, ProbeJob, Work
from readout.sweep.loop import Loop
from readout.sweep.options import RunOptions
from readout.sweep.plan import LayerPlan, Plan, title, unfinished
from readout.sweep.probe import Cost, candidates
from readout.sweep.runtime import Runtime
from readout.sweep.training import weights_path


@dataclass(frozen=True)
class Driver:
    """Plans all problems, has them read batch by batch, and stores what comes back into one output folder."""

    readout: Readout
    inputs: Inputs
    shapes: Inputs
    """Tensors of the inputs' shapes and types, without values; see :attr:`readout.data.Metadata.like`."""
    problems: Mapping[str, Sequence[Problem]]
    """By layer, in the network's order."""
    setting: Setting
    perturbation: Perturbation
    example: Example
    label: Label
    store: ResultStore
    options: RunOptions
    threshold: float
    """t; NaN where nothing is judged."""
    runtime: Runtime
    search: Search = "grid"
    estimator: Estimator = Estimator.MAX
    pictured: Collection[str] | None = None
    """Samples whose recovered inputs are also stored as pictures or texts; None for all."""

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold the output folder and the workers.

        Raises:
            ReadoutError: if another process works on the folder, or there are no workers.
        """
        options, folder = self.options, self.options.output / CHECKPOINTS
        parts = (self.readout, self.perturbation, replace(self.runtime, loggers=()), self.example, self.label)
        try:
            with claimed(folder / CLAIM) as claim:
                work = Work(*parts, folder.absolute(), options.checkpoint_minutes, claim)
                with options.executor.opened(work):
                    yield
        finally:
            tidy(options.output)

    def plan(self, console: Console) -> Plan:
        """Check each layer, measure the cost of a step, and form batches of unfinished problems.

        Args:
            console: Prints what probes have to say.

        Raises:
            ReadoutError: if a layer can't be read, or a part of the readout couples the problems of a batch.
        """
        known = self.results()
        found = {layer: Found(known[known["layer"] == layer]) for layer in self.problems}
        wanted = {layer: wanted_now(of, found[layer], self.search) for layer, of in self.problems.items()}
        executor = self.options.executor
        jobs = self._probes(wanted)
        watch = Watch(Stop(), lambda report: None, partial(say, console))
        probed = {job.layer: answer for job, answer in executor.run(lambda: next(jobs, None), watch)}
        for layer, answer in probed.items():
            if isinstance(answer, Lost):
                raise ReadoutError(f"The probe of layer {layer!r} ended its worker {answer.times} times.")
        return Plan(
            title=title(self.readout),
            layers=[
                self._plan_layer(problems, wanted[layer], found[layer], probed.get(layer))
                for layer, problems in self.problems.items()
            ],
            steps=self.readout.steps(self.runtime.make_bare_trainer(), self.shapes.values()),
            iterative=self.readout.iterative,
            output=self.options.output,
            search=self.search,
            workers=executor.size,
            alone_for=self.options.alone_for,
        )

    def run(
        self,
        plan: Plan,
        dashboard: Dashboard,
        keep: Callable[[], None],
        console: Console,
        trajectories: bool = False,
    ) -> pd.DataFrame:
        """Run unfinished problems, and run again if results have vanished from the folder meanwhile.

        Args:
            plan: From :meth:`plan`.
            dashboard: Runs in loggers.
            keep: Writes what describes the results beside setting and configuration.
            console: Where progress goes.
            trajectories: See :meth:`results`.

        Returns:
            One row per problem, with verdicts.

        Raises:
            ReadoutError: if results vanish twice, or batches were given up.
            KeyboardInterrupt: after Ctrl-C.
        """
        self._run(plan, dashboard, keep, console)
        results = self._reread(trajectories)
        if count := self._missing(results):
            say(console, f"{count} results have gone from {self.store.folder}; they are computed again")
            self._run(self.plan(console), dashboard, keep, console)
            results = self._reread(trajectories)
            if count := self._missing(results):
                raise ReadoutError(
                    f"{count} results have gone from {str(self.store.folder)!r} twice; find out what removes them, "
                    "then run the same command again: it computes what is missing."
                )
        return results

    def results(self, problems: Iterable[Problem] | None = None, trajectories: bool = False) -> pd.DataFrame:
        """Return stored results with verdicts, one row per problem.

        Args:
            problems: Default: all.
            trajectories: Load the columns that hold a list per problem, too.
        """
        wanted = itertools.chain(*self.problems.values()) if problems is None else problems
        keys = {problem.key for problem in wanted} & self.store.finished()
        return self.judged(self.store.load(trajectories, keys=keys))

    def judged(self, results: pd.DataFrame) -> pd.DataFrame:
        """Return results with verdicts."""
        return judge(results, self.threshold, self.options.tolerance)

    def inputs_of(self, problems: Iterable[Problem]) -> dict[str, Tensor]:
        """Load the true inputs that some problems need, by sample name."""
        return inputs_of(problems, self.inputs, self.perturbation)

    def weights_path(self, layer: str) -> Path:
        """Return where the output folder keeps the weights of a trained readout."""
        assert self.readout.trained is not None
        return weights_path(self.readout.trained, self.setting, layer, self.options.output)

    def share_weights(self, layer: str) -> str | None:
        """Send the kept weights of a layer to workers, once.

        Returns:
            Name of the shared value; None if the readout has no weights, or is not trained there yet.
        """
        if self.readout.trained is None:
            return None
        kept, executor = self.weights_path(layer), self.options.executor
        if not executor.has(kept.stem):
            if not kept.exists():
                return None
            executor.share(kept.stem, load_file(kept))
        return kept.stem

    def _probes(self, wanted: Mapping[str, Sequence[Problem]]) -> Iterator[ProbeJob]:
        """Yield a probe of each layer that has something left; the first also checks that problems don't mix."""
        size = self.options.batch_size
        limit = max(self.readout.batch_limit.values()) if size == "auto" else size
        check = size != 1
        for layer, problems in wanted.items():
            if not problems:
                continue
            largest_first = sorted(problems, key=lambda problem: -self.shapes[problem.sample].numel())
            tried = candidates(largest_first, limit)
            moved_most = max(self.problems[layer], key=lambda problem: problem.level)
            inputs = self.inputs_of([*tried, moved_most])
            couples = moved_most if check else None
            yield ProbeJob(layer, tried, len(problems), inputs, size, couples, self.share_weights(layer))
            check = False

    def _plan_layer(
        self, problems: Sequence[Problem], wanted: Sequence[Problem], found: Found, probed: Probed | None
    ) -> LayerPlan:
        layer, finished = problems[0].layer, len(found.keys)
        if probed is None:
            return LayerPlan(layer, [*problems], [], Cost(), finished, 0, 0, batch_size=1, found=found)
        size, left = probed.batch_size, len(problems) - finished
        plan = LayerPlan(layer, [*problems], [], probed.cost, finished, left, left, size, found)
        plan = replace(plan, training_steps=probed.training_steps, training_step_seconds=probed.training_step_seconds)
        if self.search == "grid":
            return replace(plan, batches=unfinished(problems, size, found.keys))
        crossed = len({(problem.sample, problem.draw, problem.reading) for problem in problems})
        most = crossed * most_levels(sorted({problem.level for problem in problems})) - finished
        return replace(plan, remaining=max(most, len(wanted)), least=len(wanted))

    def _run(self, plan: Plan, dashboard: Dashboard, keep: Callable[[], None], console: Console) -> None:
        self.store.write_setting(self.setting)
        self.store.write_text("config.yaml", self.options.kept(self.runtime.config, self.threshold))
        keep()
        Loop(self, plan, dashboard, console).run()

    def _reread(self, trajectories: bool) -> pd.DataFrame:
        """Return the results that the folder holds now."""
        self.store.reread()
        return self.results(trajectories=trajectories)

    def _missing(self, known: pd.DataFrame) -> int:
        """Count wanted results that are not known."""
        return sum(
            len(wanted_now(problems, Found(known[known["layer"] == layer]), self.search))
            for layer, problems in self.problems.items()
        )


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
            f"A process runs on one device, not {trainer.world_size}; set `trainer.devices: 1`. To use several, add "
            "--sweep.executor Ray."
        )
    steps = trainer.max_steps if readout.iterative else 1
    network, described = readout.extractor.fingerprint(), readout.describe(steps)
    if readout.denoiser is not None:
        described["denoiser"] = readout.denoiser.describe()
    return Setting(network, described, moved_by, steps, str(trainer.precision))
