"""Work: layer after layer, batch after batch, and what comes of each into the store."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import pandas as pd
from lightning.pytorch import Trainer
from rich.console import Console
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.common.signals import Stop, stoppable
from readout.common.terminal import say
from readout.inversions import FeatureInversion
from readout.inversions.run import Row, invert
from readout.perturbations import Perturbation
from readout.problems import Problem
from readout.store import ResultStore, judge
from readout.sweep.checkpoints import FOLDER, LayerCheckpoint, tidy
from readout.sweep.claims import in_turn
from readout.sweep.options import RunOptions
from readout.sweep.plan import LayerPlan, Plan
from readout.sweep.progress import SweepProgress


@dataclass(frozen=True)
class Turn:
    """A layer that this process has to itself, and what watches over it."""

    plan: LayerPlan
    checkpoint: LayerCheckpoint
    progress: SweepProgress
    stop: Stop


@dataclass(frozen=True)
class Work:
    """Inversions whose results go into one folder."""

    inversion: FeatureInversion
    inputs: Mapping[str, Tensor]
    """True inputs by sample name."""
    perturbation: Perturbation
    store: ResultStore
    options: RunOptions
    threshold: float
    """t; NaN where nothing is judged."""
    complete: Callable[[list[Row], list[Tensor]], pd.DataFrame]
    """The table of a batch, from its rows and what was recovered."""

    def results(self, problems: Iterable[Problem], trajectories: bool = False) -> pd.DataFrame:
        """What the folder holds of these problems, with verdicts; one row each that is whole."""
        keys = {problem.key for problem in problems} & self.store.finished()
        results = self.store.load(trajectories)
        return self.judged(results[results["key"].isin(keys)].reset_index(drop=True))

    def judged(self, results: pd.DataFrame) -> pd.DataFrame:
        """The same with verdicts."""
        return judge(results, self.threshold, self.options.tolerance)

    def until_whole(self, run: Callable[[bool], None], lacking: Callable[[], int], console: Console) -> None:
        """Run what is left, and once more if results have gone from the folder meanwhile.

        Args:
            run: Runs what is left; its argument says whether it is for the second time.
            lacking: Counts the results that are wanted and not there.
            console: Told of a second time.

        Raises:
            ReadoutError: if results go again.
        """
        run(False)
        if count := lacking():
            say(console, f"{count} results have gone from {self.store.folder}; they are computed again")
            run(True)
        if count := lacking():
            raise ReadoutError(
                f"{count} results have gone from {str(self.store.folder)!r} twice; find out what removes them, then "
                "run the same command again: it computes what is missing."
            )

    @contextmanager
    def turns(self, plan: Plan, layers: Sequence[LayerPlan], console: Console) -> Iterator[Iterator[Turn]]:
        """Each layer in turn, once no other process works on it.

        Args:
            plan: Everything there is to do.
            layers: Layers of it to go through.
            console: Where progress goes.

        Raises:
            KeyboardInterrupt: after Ctrl-C; see :func:`readout.common.signals.stoppable`.
        """
        output = self.options.output
        with (
            stoppable() as stop,
            SweepProgress(plan, console) as progress,
            closing(in_turn(layers, output / FOLDER, stop, console)) as claimed,
        ):
            yield self._turns(claimed, progress, stop)
        tidy(output)

    def run(
        self, turn: Turn, batches: Iterable[Sequence[Problem]], make_trainer: Callable[..., Trainer]
    ) -> Iterator[None]:
        """Run a layer's batches; comes back after each, when it is stored.

        Args:
            turn: The layer.
            batches: What to run side by side.
            make_trainer: Makes a Trainer with further callbacks.
        """

        def fit(inversion: FeatureInversion) -> None:
            turn.checkpoint.fit(make_trainer(turn.progress, turn.checkpoint), inversion)

        for batch in batches:
            turn.stop.check()
            turn.progress.start(batch)
            attempt = turn.checkpoint.attempt(batch)
            rows, recovered = invert(self.inversion, batch, self.inputs, self.perturbation, fit, attempt)
            self.store.append(self.judged(self.complete(rows, recovered)), recovered)
            turn.checkpoint.stored()
            yield
            turn.progress.done()

    def _turns(self, layers: Iterable[LayerPlan], progress: SweepProgress, stop: Stop) -> Iterator[Turn]:
        options = self.options
        limit = None if options.batch_size == "auto" else options.batch_size
        for plan in layers:
            minutes = options.checkpoint_minutes
            checkpoint = LayerCheckpoint(options.output, plan, minutes, stop, progress.console, limit)
            progress.start_layer(plan)
            yield Turn(plan, checkpoint, progress, stop)
            checkpoint.layer_done()
            progress.layer_done()
