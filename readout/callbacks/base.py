"""SweepCallback: a Lightning callback that also hears when a layer of a sweep is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torch import Tensor


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
    loggers: Sequence[Logger]


class SweepCallback(Callback):
    """Base of callbacks that log once a layer, next to Lightning's own hooks."""

    def on_layer_end(self, results: LayerResults) -> None:
        """Called when all batches of a layer are done and stored, if there is a logger."""
