"""Reporter: tells, from where a fit runs, how far it is."""

import math
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from readout.executors import Desk, Report
from readout.readouts import FeatureInversion

READ_SECONDS = 1.0
"""Time between two reads of d_X or of a loss, each of which waits for the device."""


class Reporter(Callback):
    """Reports the step of a fit, and now and then d_X or the loss.

    Args:
        desk: Where to report.
        job: Name of the job.
    """

    def __init__(self, desk: Desk, job: str) -> None:
        self.desk = desk
        self.job = job
        self.steps = 0
        """Steps taken, those before an interruption included where Lightning counts them."""
        self._words = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started, self._told, self._read = time.monotonic(), -math.inf, -math.inf
        self.steps, before = trainer.global_step, 0.0
        self._first = self._taken(pl_module)
        if isinstance(pl_module, FeatureInversion) and pl_module.resumed is not None:
            before = pl_module.resumed["seconds"]
        self._report(trainer, self._first, self._started, before)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report a few times a second."""
        self.steps += 1
        now = time.monotonic()
        if now - self._told < self.desk.report_seconds:
            return
        self._told = now
        if now - self._read >= READ_SECONDS:
            self._read = now
            self._words = distances(pl_module) if isinstance(pl_module, FeatureInversion) else _loss(outputs)
        self._report(trainer, self._taken(pl_module), now)

    def _taken(self, pl_module: LightningModule) -> int:
        return pl_module.steps_taken if isinstance(pl_module, FeatureInversion) else self.steps

    def _report(self, trainer: Trainer, step: int, now: float, before: float = 0.0) -> None:
        since = now - self._started
        self.desk.report(Report(self.job, step, trainer.max_steps, self._first, since, before, self._words))


def distances(inversion: FeatureInversion) -> str:
    """Return mean and range of the newest d_S of the active problems, in words."""
    if not inversion.trajectory.steps:
        return ""
    values = [value for value in inversion.trajectory.latest()["distance"].tolist() if math.isfinite(value)]
    if not values:
        return ""
    symbol = "d_X" if inversion.signal_kind == "input" else "d_S"
    return f"{symbol} {sum(values) / len(values):.3f} ({min(values):.2f}–{max(values):.2f})"


def _loss(outputs: Any) -> str:
    loss = outputs.get("loss") if isinstance(outputs, dict) else None
    return f"loss {float(loss):.3f}" if isinstance(loss, Tensor) else ""
