"""SweepProgress: one live display for a whole sweep."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from torch import Tensor
from typing_extensions import Self

from readout.common.terminal import say
from readout.problems import Problem
from readout.readouts import FeatureInversion
from readout.sweep.plan import LayerPlan, Plan, duration
from readout.sweep.time_left import LayerTime, Left, TimeLeft

REDRAW_SECONDS = 0.25
READ_SECONDS = 1.0
"""Time between two reads of d_X, each of which waits for the device."""


class SweepProgress(Callback):
    """Live display of finished problems, the running batch and the ETA.

    On a terminal two lines are redrawn, in a notebook one; elsewhere a plain line is printed every ``quiet_seconds``.

    Args:
        plan: The problems that are left.
        console: Where to show them.
        quiet_seconds: Time between plain lines.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, plan: Plan, console: Console, quiet_seconds: float = 20.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.plan = plan
        self.console = console
        self.quiet_seconds = quiet_seconds
        forecast = {
            layer.layer: LayerTime(layer.remaining, layer.least, plan.reading_seconds(layer) / max(layer.remaining, 1))
            for layer in plan.layers
        }
        training = {
            training_of(layer.layer): LayerTime(layer.training_steps, layer.training_steps, layer.training_step_seconds)
            for layer in plan.layers
            if layer.training_steps
        }
        self.time_left = TimeLeft({**forecast, **training})
        self._clock = clock
        self._problems = sum(layer.remaining for layer in plan.layers)
        self._problems_done = 0
        self._shown = self._read = -math.inf
        self._fit_started = 0.0
        self._first_step = 0
        self._distance = ""

    def __enter__(self) -> Self:
        self._started = self._clock()
        self._live = Live(console=self.console, auto_refresh=False, transient=False)
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._problems_done:
            self._show_end()
        self._live.stop()

    def start_layer(self, layer: LayerPlan) -> None:
        """Begin a layer."""
        self._layer, self._done_of_layer = layer, 0

    def start(self, batch: Sequence[Problem]) -> None:
        """Begin a batch."""
        self._batch = batch
        self.time_left.start_batch(self._layer.layer, len(batch), self._clock())

    def done(self) -> None:
        """Count the batch as finished, however many steps it took."""
        self.time_left.end_batch(self._clock())
        self._problems_done += len(self._batch)
        self._done_of_layer += len(self._batch)
        self._show([f"{self._layer.layer}: {self._done_of_layer:,} done"])

    def layer_done(self) -> None:
        """Count the layer as logged, and subtract the problems that a search did not need."""
        self.time_left.end_layer(self._layer.layer, self._clock())
        self._problems -= self._layer.remaining - self._done_of_layer
        self._show([f"{self._layer.layer} done"])

    def start_training(self, steps: int) -> None:
        """Begin the training of the layer's readout."""
        self.time_left.start_batch(training_of(self._layer.layer), steps, self._clock())

    def training_step(self, step: int, steps: int, loss: Tensor | None) -> None:
        """Note a step of the training."""
        now = self._clock()
        self.time_left.step(now, step / steps)
        if self._due(now):
            words = [] if loss is None else [f"loss {float(loss):.3f}"]
            self._show([training_of(self._layer.layer), f"step {step:,} of {steps:,}", *words])

    def training_done(self) -> None:
        """Count the training as done."""
        self.time_left.end_batch(self._clock())
        self.time_left.end_layer(training_of(self._layer.layer), self._clock())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of a fit."""
        assert isinstance(pl_module, FeatureInversion)
        self._fit_started, self._first_step, self._distance = self._clock(), pl_module.steps_taken, ""
        self._read = self._fit_started
        before = 0.0 if pl_module.resumed is None else pl_module.resumed["seconds"]
        self.time_left.step(self._fit_started, self._first_step / self.plan.steps, before)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Redraw a few times a second."""
        assert isinstance(pl_module, FeatureInversion)
        now = self._clock()
        self.time_left.step(now, min(pl_module.steps_taken / self.plan.steps, 1.0))
        if not self._due(now):
            return
        if now - self._read >= READ_SECONDS or not self.console.is_terminal:
            self._read, self._distance = now, _distances(pl_module)
        self._show(self._what(pl_module.steps_taken, now))

    def _due(self, now: float) -> bool:
        return now - self._shown >= (REDRAW_SECONDS if self.console.is_terminal else self.quiet_seconds)

    def _show(self, what: Sequence[str]) -> None:
        now = self._clock()
        if not self._due(now):
            return
        self._shown = now
        left, share = self.time_left.seconds, self.time_left.share
        guess = "" if self.time_left.measured else ", a first guess"
        done = f"{self._problems_done:,}/{self._problems:,} {self.plan.unit}"
        time_left = f"{_span(left)} left{guess}"
        if not self.console.is_terminal:
            line = f"{share:4.0%}  {done} · {' · '.join(what)} · {time_left}"
            say(self.console, line)
        elif self.console.file.isatty():
            bar = Table.grid(padding=(0, 1))
            bar.add_row(ProgressBar(completed=share, total=1.0, width=30), f"{share:4.0%}", f"{done} · {time_left}")
            self._draw(Group(bar, Text(" · ".join(what), style="dim", no_wrap=True, overflow="ellipsis")))
        else:  # a notebook redraws its last line only, and its width is a guess
            line = f"{share:4.0%}  {done} · {time_left} · {' · '.join(what)}"
            self._draw(Text(line, no_wrap=True, overflow="ellipsis"))

    def _what(self, step: int, now: float) -> list[str]:
        """Return what runs, at which step, and how fast."""
        names = [layer.layer for layer in self.plan.layers]
        place = f" ({names.index(self._layer.layer) + 1} of {len(names)})" if len(names) > 1 else ""
        levels = sorted({problem.level for problem in self._batch if not math.isnan(problem.level)})
        spent = now - self._fit_started
        parts = [f"{self._layer.layer}{place}"]
        parts[0] += f" at level{'s' if len(levels) > 1 else ''} {_range(levels)}" if levels else ""
        parts.append(f"step {step} of {self.plan.steps}")
        parts += [self._distance] if self._distance else []
        parts += [_speed((step - self._first_step) / spent)] if spent > 0 else []
        return parts

    def _show_end(self) -> None:
        took = duration(self._clock() - self._started)
        line = f"100%  {self._problems_done:,}/{self._problems:,} {self.plan.unit} · done in {took}"
        if self.console.is_terminal:
            self._draw(Text(line))
        else:
            say(self.console, line)

    def _draw(self, what: RenderableType) -> None:
        self._live.update(what, refresh=True)


def training_of(layer: str) -> str:
    """Return the name under which the time of a layer's training is kept."""
    return f"training at {layer}"


def _distances(inversion: FeatureInversion) -> str:
    """Return mean and range of the newest d_S of the active problems, in words."""
    if not inversion.trajectory.steps:
        return ""
    values = [value for value in inversion.trajectory.latest()["distance"].tolist() if math.isfinite(value)]
    if not values:
        return ""
    symbol = "d_X" if inversion.signal_kind == "input" else "d_S"
    return f"{symbol} {sum(values) / len(values):.3f} ({min(values):.2f}–{max(values):.2f})"


def _range(levels: Sequence[float]) -> str:
    return f"{levels[0]:g}" if len(levels) == 1 else f"{levels[0]:g}–{levels[-1]:g}"


def _span(left: Left) -> str:
    least, most = duration(left.least), duration(left.most)
    return most if least == most else f"{least} to {most}"


def _speed(steps_per_second: float) -> str:
    digits = 0 if steps_per_second >= 10 else 1 if steps_per_second >= 1 else 2
    return f"{steps_per_second:.{digits}f} steps/s"
