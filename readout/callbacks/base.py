"""SweepCallback: a Lightning callback with hooks for the layers and the end of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torch import Tensor

from readout.callbacks.logbook import Entry
from readout.data.images import is_image


@dataclass(frozen=True)
class OpenRun:
    """A logger whose run is open, and the record of what it has logged of that run."""

    logger: Logger
    entry: Entry = field(default_factory=Entry)


@dataclass(frozen=True)
class LayerResults:
    """Results of one (model, layer) after its last batch."""

    layer: str
    table: pd.DataFrame
    """One row per problem, trajectories included."""
    sizes: pd.DataFrame
    """One row per sample."""
    inputs: Mapping[str, Tensor]
    """True inputs by sample name."""
    recovered: Mapping[str, Tensor]
    """Recovered signals by problem key."""
    runs: Sequence[OpenRun]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Plain values to search runs by: model, layer, prior and so on."""

    @property
    def loggers(self) -> list[Logger]:
        """The loggers of the runs."""
        return [run.logger for run in self.runs]

    @property
    def are_images(self) -> bool:
        """Whether true inputs and recovered signals are images, told by the first of each."""
        firsts = (next(iter(each.values()), None) for each in (self.inputs, self.recovered))
        return all(is_image(first) for first in firsts if first is not None)


@dataclass(frozen=True)
class SweepResults:
    """Results of a whole sweep."""

    table: pd.DataFrame
    """One row per problem."""
    sizes: pd.DataFrame
    """One row per (layer, sample)."""
    loggers: Sequence[Logger]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Plain values to search runs by: model, prior and so on."""


class SweepCallback(Callback):
    """Base class of callbacks that log per layer and per sweep, beside Lightning's own hooks.

    Its hooks are called only where there is a logger.

    Examples:
        >>> from readout.callbacks.loggers import adapter_for
        >>> class LargestSizes(SweepCallback):
        ...     def on_layer_end(self, results: LayerResults) -> None:
        ...         for logger in map(adapter_for, results.loggers):
        ...             logger.log_table("largest", results.sizes.nlargest(3, "representation_size"))
    """

    def on_layer_start(self, runs: Sequence[OpenRun]) -> None:
        """Called when the runs of a layer are open, before its first batch."""

    def on_batch_stored(self) -> None:
        """Called when a batch is done and stored."""

    def on_layer_end(self, results: LayerResults) -> None:
        """Called when all batches of a layer are done and stored."""

    def on_sweep_end(self, results: SweepResults) -> None:
        """Called when all layers are done."""
