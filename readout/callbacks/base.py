"""SweepCallback: a Lightning callback that also hears when a layer of a sweep begins and ends, and the sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torch import Tensor

from readout.callbacks.logbook import Entry


@dataclass(frozen=True)
class OpenRun:
    """A logger whose run is open, and what it was given of that run so far."""

    logger: Logger
    entry: Entry = field(default_factory=Entry)


@dataclass(frozen=True)
class LayerResults:
    """Everything known of one (model, layer) when its last batch is done."""

    layer: str
    table: pd.DataFrame
    """One row a problem, trajectories included."""
    sizes: pd.DataFrame
    """One row a sample."""
    inputs: Mapping[str, Tensor]
    """True inputs by sample name."""
    recovered: Mapping[str, Tensor]
    """Recovered inputs by problem key."""
    runs: Sequence[OpenRun]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What runs are searched by: model, layer, prior and so on, one plain value each."""

    @property
    def loggers(self) -> list[Logger]:
        """The loggers of the runs."""
        return [run.logger for run in self.runs]


@dataclass(frozen=True)
class SweepResults:
    """Everything known of a whole sweep."""

    table: pd.DataFrame
    """One row a problem, trajectories included."""
    sizes: pd.DataFrame
    """One row a (layer, sample)."""
    loggers: Sequence[Logger]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """See :class:`LayerResults`; without those of a layer."""


class SweepCallback(Callback):
    """Base of callbacks that log once a layer and once a sweep, next to Lightning's own hooks.

    None of these is called where there is no logger.
    """

    def on_layer_start(self, runs: Sequence[OpenRun]) -> None:
        """Called when the runs of a layer are open, before its first batch."""

    def on_batch_stored(self) -> None:
        """Called when a batch is done and stored."""

    def on_layer_end(self, results: LayerResults) -> None:
        """Called when all batches of a layer are done and stored."""

    def on_sweep_end(self, results: SweepResults) -> None:
        """Called when all layers are done."""
