"""RecoveryCurve: d_X, d_H and loss against optimisation step, one curve a level."""

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from readout.callbacks.base import LayerResults, SweepCallback
from readout.errors import ReadoutError
from readout.inversions import FeatureInversion

QUANTITIES = {
    "distance": "trajectory_distance",
    "recovered_feature_distance": "trajectory_feature_distance",
    "loss": "trajectory_loss",
}
"""Metric name → column of the results."""


class RecoveryCurve(SweepCallback):
    """Logs the mean over problems of one level, never one metric a sample.

    While a batch runs, ``live/QUANTITY/level=…`` shows it as it goes; when a layer is done,
    ``recovery/QUANTITY/level=…`` against ``optimisation_step`` is the mean over all of its problems.

    Args:
        every_n_steps: Read the curves from the device every so many steps.

    Raises:
        ReadoutError: if ``every_n_steps`` is below 1.
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        if every_n_steps < 1:
            raise ReadoutError(f"every_n_steps is {every_n_steps}; it must be at least 1.")
        self.every_n_steps = every_n_steps
        self._offset = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Flush the newest values every N steps."""
        if trainer.loggers and trainer.global_step % self.every_n_steps == 0:
            self._log(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the next batch go on where this one ended on the logger's axis."""
        self._offset += trainer.global_step

    def on_layer_end(self, results: LayerResults) -> None:
        """Log the mean curves of the layer."""
        self._offset = 0
        for logger in results.loggers:
            for step, values in mean_curves(results).items():
                logger.log_metrics({"optimisation_step": step, **values})

    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, FeatureInversion)
        levels = pl_module.problems.levels
        values = {
            f"live/{name}/level={level:g}": value
            for name, tensor in pl_module.trajectory.latest().items()
            for level, value in _mean_by_level(tensor, levels).items()
        }
        for logger in trainer.loggers:
            logger.log_metrics(values, step=self._offset + trainer.global_step)


def mean_curves(results: LayerResults) -> dict[int, dict[str, float]]:
    """Step → metric name → mean over the problems of a level that were still running then."""
    curves: dict[int, dict[str, list[float]]] = {}
    for row in results.table.to_dict("records"):
        for name, column in QUANTITIES.items():
            for step, value in zip(row["trajectory_step"], row[column], strict=True):
                if np.isfinite(value):
                    metric = f"recovery/{name}/level={row['level']:g}"
                    curves.setdefault(int(step), {}).setdefault(metric, []).append(value)
    return {step: {name: float(np.mean(values)) for name, values in curves[step].items()} for step in sorted(curves)}


def _mean_by_level(values: Tensor, levels: Tensor) -> dict[float, float]:
    means = {level: float(values[levels == level].nanmean()) for level in sorted(set(levels.tolist()))}
    return {level: mean for level, mean in means.items() if np.isfinite(mean)}
