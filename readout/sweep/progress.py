"""SweepProgress: one live display for a whole sweep."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from typing_extensions import Self

from readout.common.terminal import say
from readout.executors import Report
from readout.sweep.plan import LayerPlan, Plan, duration
from readout.sweep.schedule import Batch
from readout.sweep.time_left import LayerTime, Left, TimeLeft

REDRAW_SECONDS = 0.25


class SweepProgress:
    """Live display of finished problems, the running batch and the ETA.

    On a terminal two lines are redrawn, in a notebook one; elsewhere a plain line is printed every ``quiet_seconds``.

    Args:
        plan: The problems that are left.
        console: Where to show them.
        workers: Returns the number of jobs that run at the same time.
        quiet_seconds: Time between plain lines.
        clock: Returns the time in seconds.
    """

    def __init__(
        self,
        plan: Plan,
        console: Console,
        workers: Callable[[], int] = lambda: 1,
        quiet_seconds: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.console = console
        self.workers = workers
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
        self._done_of: Counter[str] = Counter()
        self._running: dict[str, Batch | tuple[str, int]] = {}
        """Batches, and layers of trainings with their steps, by the name of the job."""
        self._shown = -math.inf

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

    def start(self, batch: Batch) -> None:
        """Begin a batch."""
        self._running[batch.name] = batch
        self.time_left.start_batch(batch.name, batch.layer, len(batch.problems), self._clock())

    def report(self, report: Report) -> None:
        """Note how far a job is, and redraw a few times a second."""
        name, now = report.job, self._clock()
        if name not in self._running:  # told before it ended
            return
        self.time_left.step(name, now, min(report.step / report.steps, 1.0), report.before)
        if report.step > report.first and self._due(now):
            self._show(self._what(report))

    def lost(self, name: str) -> None:
        """Note that a job has lost its worker, and will start again."""
        running = self._running.pop(name)
        self.time_left.lose_batch(name)
        if isinstance(running, Batch):
            self.start(running)
        else:
            self.start_training(name, *running)

    def done(self, batch: Batch, stored: bool = True) -> None:
        """Count a batch as finished, however many steps it took; without results if it was given up."""
        del self._running[batch.name]
        if not stored:
            self.time_left.lose_batch(batch.name)
            return
        self.time_left.end_batch(batch.name, self._clock())
        self._problems_done += len(batch.problems)
        self._done_of[batch.layer] += len(batch.problems)
        self._show([f"{batch.layer}: {self._done_of[batch.layer]:,} done"])

    def layer_done(self, layer: LayerPlan) -> None:
        """Count a layer as logged, and subtract the problems that a search did not need."""
        self.time_left.end_layer(layer.layer, self._clock())
        self._problems -= layer.remaining - self._done_of[layer.layer]
        self._show([f"{layer.layer} done"])

    def start_training(self, name: str, layer: str, steps: int) -> None:
        """Begin the training of a layer's readout."""
        self._running[name] = layer, steps
        self.time_left.start_batch(name, training_of(layer), steps, self._clock())

    def training_done(self, name: str, layer: str) -> None:
        """Count a training as done."""
        del self._running[name]
        self.time_left.end_batch(name, self._clock())
        self.time_left.end_layer(training_of(layer), self._clock())

    def _due(self, now: float) -> bool:
        return now - self._shown >= (REDRAW_SECONDS if self.console.is_terminal else self.quiet_seconds)

    def _show(self, what: Sequence[str]) -> None:
        now = self._clock()
        if not self._due(now):
            return
        self._shown = now
        left, share = self.time_left.seconds(self.workers()), self.time_left.share
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

    def _what(self, report: Report) -> list[str]:
        """Return what runs, at which step, and how fast."""
        running = self._running[report.job]
        more = [f"{len(self._running)} at once"] if len(self._running) > 1 else []
        if not isinstance(running, Batch):
            words = [training_of(running[0]), f"step {report.step:,} of {report.steps:,}", report.words]
            return [*more, *filter(None, words)]
        names = [layer.layer for layer in self.plan.layers]
        place = f" ({names.index(running.layer) + 1} of {len(names)})" if len(names) > 1 else ""
        levels = sorted({problem.level for problem in running.problems if not math.isnan(problem.level)})
        where = f"{running.layer}{place}"
        where += f" at level{'s' if len(levels) > 1 else ''} {_range(levels)}" if levels else ""
        speed = _speed((report.step - report.first) / report.seconds) if report.seconds > 0 else ""
        return [*more, where, *filter(None, (f"step {report.step} of {report.steps}", report.words, speed))]

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


def _range(levels: Sequence[float]) -> str:
    return f"{levels[0]:g}" if len(levels) == 1 else f"{levels[0]:g}–{levels[-1]:g}"


def _span(left: Left) -> str:
    least, most = duration(left.least), duration(left.most)
    return most if least == most else f"{least} to {most}"


def _speed(steps_per_second: float) -> str:
    digits = 0 if steps_per_second >= 10 else 1 if steps_per_second >= 1 else 2
    return f"{steps_per_second:.{digits}f} steps/s"
