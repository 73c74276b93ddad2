"""RunOptions: output folder, batch size and verdict thresholds of inversions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from rich.console import Console

from readout.callbacks.logbook import Logbook
from readout.common.checks import check_number, check_threshold, check_whole
from readout.common.errors import ReadoutError
from readout.common.files import user_path
from readout.common.seal import COMMENT
from readout.common.terminal import say
from readout.executors import Executor, Here
from readout.metrics import SampleMetric
from readout.prediction.beside import set_aside_broken
from readout.readouts.inversion.optimizers import ALONE
from readout.store import ResultStore
from readout.sweep.probe import BatchSize
from readout.sweep.training import set_aside_broken as set_aside_weights


@dataclass(frozen=True)
class RunOptions:
    """Options shared by sweeps and external features; :class:`readout.sweep.Sweep` explains each.

    Raises:
        ReadoutError: if an option is out of range.
    """

    output: Path
    resume: bool = True
    threshold: float | None = None
    tolerance: float = 1e-4
    batch_size: BatchSize = "auto"
    checkpoint_minutes: float | None = 5
    executor: Executor = field(default_factory=Here)
    """Where batches run."""
    alone_for: str = ""
    """Optimiser that couples the problems of a batch, so that each runs by itself; empty if none does."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "output", user_path(self.output))
        if self.threshold is not None:
            check_threshold("threshold", self.threshold)
        check_number("tolerance", self.tolerance, 0)
        if self.batch_size != "auto":
            check_whole("batch_size", self.batch_size, 1, hint=", or 'auto'")
        if self.checkpoint_minutes is not None:
            hint = ", or null for a checkpoint only when interrupted"
            check_number("checkpoint_minutes", self.checkpoint_minutes, above=0, hint=hint)

    def for_readout(self, readout: Mapping[str, Any]) -> "RunOptions":
        """Return the options for a readout: one problem at a time if its optimiser couples problems.

        Args:
            readout: From :meth:`readout.readouts.Readout.describe`.
        """
        optimizer = readout.get("optimizer") or {}
        return replace(self, batch_size=1, alone_for=optimizer["class"]) if optimizer.get(ALONE) else self

    def threshold_for(self, metric: SampleMetric, judging: bool = True) -> float:
        """Return t: the option, or the paper's value for the metric; NaN if there is neither and nothing is judged.

        Raises:
            ReadoutError: if there is neither and results are to be judged.
        """
        threshold = self.threshold or metric.threshold
        if threshold is None and judging:
            raise ReadoutError(f"The paper has no threshold for {metric.name}; set sweep.threshold.")
        return math.nan if threshold is None else threshold

    def kept(self, config: Mapping[str, Any], threshold: float) -> str:
        """Return the configuration as YAML to keep with the results, with the t that was used."""
        judged = {} if math.isnan(threshold) else {"threshold": threshold, "tolerance": self.tolerance}
        sweep = {**(config.get("sweep") or {}), **judged}
        return COMMENT + yaml.safe_dump({**config, "sweep": sweep}, sort_keys=False)

    def open_store(self, holds: Literal["sweep", "external"], console: Console) -> ResultStore:
        """Open the output folder and set damaged files aside.

        Args:
            holds: Kind of results: a sweep's, or those of external features.
            console: Prints what was set aside.

        Raises:
            ReadoutError: if it holds results of the other kind, or any results and ``resume`` is false.
        """
        store = ResultStore(self.output)
        if not self.resume and store.finished():
            raise ReadoutError(f"{str(self.output)!r} holds results; choose another output, or drop `resume: false`.")
        damaged = (*set_aside_broken(store), *set_aside_weights(self.output))
        for sentence in (*store.set_aside_broken(), *Logbook(store).set_aside_broken(), *damaged):
            say(console, sentence)
        levels = store.load(columns=["level"])["level"]
        if holds == "external" and levels.notna().any():
            raise ReadoutError(f"{str(self.output)!r} holds the results of a sweep; choose another output.")
        if holds == "sweep" and levels.isna().any():
            raise ReadoutError(f"{str(self.output)!r} holds what `invert` recovered; choose another output.")
        return store
