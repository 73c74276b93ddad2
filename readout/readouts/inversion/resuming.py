"""Checkpoints in the middle of a batch: the state that Lightning does not keep.

Lightning keeps the step, the optimiser, its schedule and the precision plugin's state. This module adds the prior, the
active problems, the trajectory and the state of every global random generator. Targets are recomputed, because they
follow from the problems.
"""

import random
import time
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.priors import Prior
from readout.readouts.base import Readout
from readout.readouts.batch import ProblemBatch
from readout.readouts.inversion.running import Running
from readout.readouts.target import Target
from readout.readouts.trajectory import Trajectory

State = dict[str, Any]
"""Tensors, numbers, strings, and lists and dictionaries of them, which PyTorch loads without running code."""


@dataclass
class Attempt:
    """Progress of a batch over its restarts."""

    todo: list[int]
    """Indices of the problems that run now."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Results per problem so far."""
    recovered: list[Tensor] = field(default_factory=list)
    """Recovered input per problem so far."""
    restart: int = 0
    """Number of restarts of the problems in ``todo``."""

    @classmethod
    def fresh(cls, count: int) -> "Attempt":
        """Return the progress of a batch that has not started."""
        return cls(list(range(count)), [{} for _ in range(count)], [torch.empty(0) for _ in range(count)])


def identity(problems: ProblemBatch) -> State:
    """Return data that identify the problems of a fit."""
    # levels as text, because external features have level NaN, which is not equal to itself
    return {
        "layer": problems.layer,
        "levels": [str(level) for level in problems.levels.tolist()],
        "seeds": list(problems.prior_seeds),
    }


def restore_prior(prior: Prior, state: State, problems: ProblemBatch) -> None:
    """Restore a prior's state, before its optimiser is built.

    Args:
        prior: Prior just initialised for ``problems``.
        state: State from :meth:`FeatureInversion.progress`.
        problems: Problems of the fit.

    Raises:
        ReadoutError: if the state belongs to other problems.
    """
    if state["problems"] != identity(problems):
        raise ReadoutError(
            "The fit was given a checkpoint of other problems; Lightning loads any `hpc_ckpt_*.ckpt` in its "
            "`default_root_dir`, so delete these files."
        )
    rows = state["running"]["rows"]
    if len(rows) < len(problems):
        prior.keep(rows)
    prior.resume(state["prior"])


class Resumable(Readout):
    """Base class that saves an inversion to a checkpoint and restores it."""

    prior: Prior
    trajectory: Trajectory
    resumed: State | None = None
    """State from the checkpoint that this batch resumes, if any."""
    _running: Running
    _active_target: Target
    _active: Tensor | None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the progress of the batch, without the network's frozen weights."""
        checkpoint["state_dict"] = {}
        checkpoint["inversion"] = self.progress()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Resume the batch that was passed to ``load``.

        Raises:
            ReadoutError: if the checkpoint belongs to other problems.
        """
        self.strict_loading = False  # the checkpoint has no weights
        self.resumed = checkpoint["inversion"]
        restore_prior(self.prior, self.resumed, self.problems)

    def progress(self) -> State:
        """Return the state for a checkpoint.

        A subclass adds what its own steps change, and restores it from :attr:`resumed` in ``on_train_start``.
        """
        return {
            "problems": identity(self.problems),
            "step": self.steps_taken,
            "prior": self.prior.progress(),
            "running": self._running.state(),
            "trajectory": self.trajectory.state(),
            "staying": self._active,
            "random": random_states(),
            "seconds": time.perf_counter() - self._started,
        }

    def resume(self) -> None:
        """Restore everything but the prior, if this batch resumes a checkpoint."""
        state = self.resumed
        if state is None:
            return
        self._started -= state["seconds"]
        self._running.resume(state["running"])
        if len(self._running.rows) < len(self.problems):
            self._active_target = self._target.of(self._running.rows)
        self.trajectory = Trajectory.resumed(state["trajectory"], self.device)
        if state["staying"] is not None:  # saved between the record of a step and the drop that follows it
            self._drop_finished(state["staying"].to(self.device))
        set_random_states(state["random"])

    @abstractmethod
    def _drop_finished(self, active: Tensor) -> None:
        """Shrink the batch to its active problems."""


def random_states() -> State:
    """Return the state of every global random generator."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": [version, list(words), gauss],
    }


def set_random_states(states: State) -> None:
    """Restore the states from :func:`random_states`."""
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
