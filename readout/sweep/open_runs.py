"""OpenRuns: the runs of a layer, or of a training, in the loggers of the process that stores results."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from lightning.pytorch.loggers import Logger

from readout.callbacks.dashboard import Dashboard, LayerRuns, Loggers
from readout.problems import Problem


class OpenRuns:
    """Opens one run per logger at a time: of a layer from its first batch here, or when its results are logged.

    Args:
        dashboard: The runs of the sweep.
        layers: Layers of the network, in order.
    """

    def __init__(self, dashboard: Dashboard, layers: Sequence[str]) -> None:
        self.dashboard = dashboard
        self.layers = layers
        self._open = ExitStack()
        self._name = ""
        self._loggers: list[Logger] = []
        self.layer: LayerRuns | None = None
        """Runs of the layer that is open, if any."""

    def of_layer(self, problems: Sequence[Problem], loggers: Loggers | None = None) -> LayerRuns:
        """Open the runs of a layer, unless they are.

        Args:
            problems: All problems of the layer.
            loggers: Those in which to open a run; None for all.
        """
        layer = problems[0].layer
        if self.layer is None or self._name != layer:
            self.close()
            chosen = self.dashboard.loggers if loggers is None else loggers
            self._name = layer
            self.layer = self._open.enter_context(self.dashboard.layer(problems, self.layers.index(layer), chosen))
        return self.layer

    def of_training(self, layer: str, key: str) -> list[Logger]:
        """Open the runs of a training, unless they are."""
        if self._name != key:
            self.close()
            self._loggers = self._open.enter_context(self.dashboard.training(layer, key))
            self._name = key
        return self._loggers

    def batch_stored(self) -> None:
        """Tell callbacks that a batch is stored."""
        if self.layer is not None:
            self.layer.batch_stored()

    def close(self) -> None:
        """Close what is open."""
        self._name, self.layer = "", None
        self._open.close()

    def __enter__(self) -> "OpenRuns":
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)
