"""RecoveryCurve: d_X, d_H and loss against optimisation step, one curve per level."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from readout.analysis.curves import mean_trajectory
from readout.analysis.sizes import at_common_levels
from readout.callbacks.base import LayerResults, OpenRun, SweepCallback
from readout.callbacks.loggers import adapter_for
from readout.common.checks import check_whole
from readout.problems.identity import digest
from readout.readouts import FeatureInversion

QUANTITIES = {
    "distance": "trajectory_distance",
    "recovered_feature_distance": "trajectory_recovered_feature_distance",
    "loss": "trajectory_loss",
}
"""Metric name → column of the results."""


class RecoveryCurve(SweepCallback):
    """Logs curves of the mean over all problems of a level, never one metric per sample.

    ``live/QUANTITY/level=…`` follows the running batch. When a layer is done, ``recovery/QUANTITY/level=…`` against
    ``optimisation_step`` is the mean over all of its problems, at those levels at which every input was inverted (a
    search inverts only some inputs at the others). A resumed sweep repeats no value.

    Args:
        every_n_steps: Steps between two live values, which have to be read from the device.

    Raises:
        ReadoutError: if ``every_n_steps`` is below 1.
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        self.every_n_steps = check_whole("every_n_steps", every_n_steps, 1)
        self._runs: Sequence[OpenRun] = ()
        self._steps = 0

    def on_layer_start(self, runs: Sequence[OpenRun]) -> None:
        """Begin a layer; group its levels on one chart where the logger can."""
        self._runs, self._steps = runs, 0
        for run in runs:
            adapter_for(run.logger).group_levels(("recovery", "live"), QUANTITIES)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Log live values every N steps; a step is recorded before its update and counted after it."""
        assert isinstance(pl_module, FeatureInversion)
        if self._runs and (pl_module.steps_taken - 1) % self.every_n_steps == 0:
            self._log(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a restart of the batch continue the live axis where this fit ended."""
        assert isinstance(pl_module, FeatureInversion)
        self._steps += pl_module.steps_taken

    def state_dict(self) -> dict[str, Any]:
        """Return the steps of earlier fits of the batch, for a checkpoint."""
        return {"steps": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self._steps = state_dict["steps"]

    def on_batch_stored(self) -> None:
        """Save the axis offset for the next batch, in any process."""
        for run in self._runs:
            run.entry.live_start += self._steps
            run.entry.save_start()
        self._steps = 0

    def on_layer_end(self, results: LayerResults) -> None:
        """Log the mean curves of the layer."""
        self._runs = ()
        common = at_common_levels(results.table)
        made_of = {f"{level:g}": digest(sorted(rows["key"])) for level, rows in common.groupby("level")}
        for run in results.runs:
            new = [level for level in made_of if run.entry.curves.get(level) != made_of[level]]
            table = common[common["level"].map("{:g}".format).isin(new)]
            logger = adapter_for(run.logger)
            for step, values in mean_curves(table).items():
                logger.log_curve(values, step, axis="optimisation_step")
            run.entry.curves |= made_of

    def _log(self, inversion: FeatureInversion) -> None:
        levels, trajectory = inversion.problems.levels, inversion.trajectory
        values = {
            f"live/{name}/level={level:g}": value
            for name, tensor in trajectory.latest().items()
            for level, value in _mean_by_level(tensor, levels).items()
        }
        for run in self._runs if values else ():
            step = run.entry.live_start + self._steps + trajectory.steps[-1]
            if step > run.entry.live_last:
                run.logger.log_metrics(values, step=step)
                run.entry.live_last = step


def mean_curves(table: pd.DataFrame) -> dict[int, dict[str, float]]:
    """Average over the problems of each level; see :func:`readout.analysis.curves.mean_trajectory`.

    Returns:
        Step → metric name → mean.
    """
    curves: dict[int, dict[str, float]] = {}
    for level, problems in table.groupby("level"):
        for name, column in QUANTITIES.items():
            mean = mean_trajectory(problems, column)
            for step, value in zip(mean.index.tolist(), mean.tolist(), strict=True):
                curves.setdefault(step, {})[f"recovery/{name}/level={level:g}"] = value
    return {step: curves[step] for step in sorted(curves)}


def _mean_by_level(values: Tensor, levels: Tensor) -> dict[float, float]:
    means = {level: float(values[levels == level].nanmean()) for level in sorted(set(levels.tolist()))}
    return {level: mean for level, mean in means.items() if np.isfinite(mean)}
