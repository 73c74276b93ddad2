"""SweepProgress: one live display for a whole sweep, with a time left that learns from the clock."""

import time
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from typing_extensions import Self

from readout.plan import LayerPlan, Plan, duration
from readout.problems import Problem


class SweepProgress(Callback):
    """Counts work in the seconds the plan foresaw, so that slow layers weigh more than quick ones.

    On a terminal one line is redrawn; elsewhere a plain line is printed every ``quiet_seconds``.

    Args:
        plan: What the sweep is about to do.
        console: Where to show it.
        quiet_seconds: Time between plain lines.
    """

    def __init__(self, plan: Plan, console: Console, quiet_seconds: float = 20.0) -> None:
        self.plan = plan
        self.console = console
        self.quiet_seconds = quiet_seconds
        self._planned = plan.seconds
        self._finished = 0.0
        self._problems_done = 0
        self._problems = sum(layer.remaining for layer in plan.layers)
        self._shown = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            console=self.console,
            disable=not self.console.is_terminal,
            refresh_per_second=4,
        )
        self._bar.start()
        self._task = self._bar.add_task("inverting", total=self._planned or 1, state="")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start_layer(self, layer: LayerPlan) -> None:
        """Name the layer that comes next."""
        self._layer, self._done_of_layer = layer, 0

    def start(self, batch: Sequence[Problem]) -> None:
        """Name the batch that comes next."""
        self._batch = batch

    def done(self) -> None:
        """Count the batch as finished, however many steps it took."""
        self._finished += self._cost * self.plan.steps
        self._problems_done += len(self._batch)
        self._done_of_layer += len(self._batch)
        self._show(0, always=self._problems_done == self._problems)

    def layer_done(self) -> None:
        """Take off what a search turned out not to need."""
        spared = self._layer.remaining - self._done_of_layer
        if spared:
            self._problems -= spared
            self._planned -= spared * self._layer.cost.seconds_per_step * self.plan.steps
            self._bar.update(self._task, total=self._planned or 1)
            self._show(0, always=self._problems_done == self._problems)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Redraw a few times a second; asks the clock only, never the device."""
        self._show(trainer.global_step)

    @property
    def _cost(self) -> float:
        return self._layer.cost.seconds_per_step * len(self._batch)

    def _show(self, step: int, always: bool = False) -> None:
        now = time.monotonic()
        if not always and now - self._shown < (0.25 if self.console.is_terminal else self.quiet_seconds):
            return
        self._shown = now
        spent = self._finished + self._cost * min(step, self.plan.steps)
        left = self.time_left(now - self._started, spent)
        state = f"{self._problems_done}/{self._problems} inversions · "
        if self._problems_done == self._problems:
            state += f"done in {duration(now - self._started)}"
        else:
            state += f"{self._layer.layer} step {step} · {duration(left)} left"
        self._bar.update(self._task, completed=spent, state=state)
        if not self.console.is_terminal:
            share = spent / self._planned if self._planned else 1.0
            self.console.print(f"{share:4.0%}  {state}", highlight=False)

    def time_left(self, elapsed: float, spent: float) -> float:
        """Seconds left: the planned rest, times how much slower than planned it has gone so far."""
        rest = max(self._planned - spent, 0.0)
        early = elapsed < 2 or spent < 0.01 * self._planned
        pace = 1.0 if early else elapsed / spent
        return rest * pace
