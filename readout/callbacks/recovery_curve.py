"""RecoveryCurve: d_X, d_H and loss against optimisation step, one curve a level."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from readout.analysis.curves import mean_trajectory
from readout.analysis.sizes import at_common_levels
from readout.callbacks.base import LayerResults, OpenRun, SweepCallback
from readout.common.checks import check_whole
from readout.inversions import FeatureInversion
from readout.problems.identity import digest

QUANTITIES = {
    "distance": "trajectory_distance",
    "recovered_feature_distance": "trajectory_recovered_feature_distance",
    "loss": "trajectory_loss",
}
"""Metric name → column of the results."""


class RecoveryCurve(SweepCallback):
    """Logs the mean over problems of one level, never one metric a sample.

    While a batch runs, ``live/QUANTITY/level=…`` shows it as it goes; when a layer is done,
    ``recovery/QUANTITY/level=…`` against ``optimisation_step`` is the mean over all of its problems, at levels that
    every input was inverted at; a search leaves gaps elsewhere. What a logger was given before a sweep was interrupted
    it is not given again.

    Args:
        every_n_steps: Read the curves from the device every so many steps.

    Raises:
        ReadoutError: if ``every_n_steps`` is below 1.
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        self.every_n_steps = check_whole("every_n_steps", every_n_steps, 1)
        self._runs: Sequence[OpenRun] = ()
        self._steps = 0

    def on_layer_start(self, runs: Sequence[OpenRun]) -> None:
        """Go on where each logger stands; let TensorBoard draw all levels on one chart."""
        self._runs, self._steps = runs, 0
        for run in runs:
            if isinstance(run.logger, TensorBoardLogger):
                run.logger.experiment.add_custom_scalars(
                    {kind: {name: ["Multiline", [f"{kind}/{name}/level=.*"]] for name in QUANTITIES} for kind in KINDS}
                )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Flush the newest values every N steps; a step is recorded before its update, and counted after it."""
        if self._runs and (trainer.global_step - 1) % self.every_n_steps == 0:
            self._log(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a restart go on where this fit ended on the logger's axis."""
        self._steps += trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """What earlier fits of the batch took of the axis, for a checkpoint."""
        return {"steps": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self._steps = state_dict["steps"]

    def on_batch_stored(self) -> None:
        """Let the next batch do so too, in whichever process."""
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
            for step, values in mean_curves(table).items():
                axis = {} if isinstance(run.logger, TensorBoardLogger) else {"optimisation_step": step}
                run.logger.log_metrics({**axis, **values}, step=step)
            run.entry.curves |= made_of

    def _log(self, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, FeatureInversion)
        levels, trajectory = pl_module.problems.levels, pl_module.trajectory
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


KINDS = ("recovery", "live")
"""What curves' names start with."""


def mean_curves(table: pd.DataFrame) -> dict[int, dict[str, float]]:
    """Step → metric name → mean over the problems of a level; see :func:`readout.analysis.curves.mean_trajectory`."""
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
