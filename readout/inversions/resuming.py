"""What a checkpoint holds of an inversion in the middle of a batch, beside what Lightning knows.

Lightning keeps the step, the optimiser, its schedule and the precision's state. Here is the rest: what the prior has
come to, who has left the batch, what was recorded, and the state of every global random number generator. Targets are
computed anew, because they follow from the problems.
"""

import random
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.inversions.batch import ProblemBatch
from readout.inversions.running import Running
from readout.inversions.target import Target
from readout.inversions.trajectory import Trajectory
from readout.priors import Prior

State = dict[str, Any]
"""Tensors, numbers, strings, and lists and dictionaries of them: what PyTorch loads without running code."""


@dataclass
class Attempt:
    """How far a batch has come: its finished runs, and which of its problems are run again."""

    todo: list[int]
    """Places of the problems that run now."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """What is known of each problem so far."""
    recovered: list[Tensor] = field(default_factory=list)
    """And what was recovered."""
    restart: int = 0
    """How often those in ``todo`` have started again."""

    @classmethod
    def fresh(cls, count: int) -> "Attempt":
        """That of problems which have not begun."""
        return cls(list(range(count)), [{} for _ in range(count)], [torch.empty(0) for _ in range(count)])


def identity(problems: ProblemBatch) -> State:
    """Tells the problems of a fit from all others."""
    # levels in words: that of a given feature is NaN, which is not equal to itself
    return {
        "layer": problems.layer,
        "levels": [str(level) for level in problems.levels.tolist()],
        "seeds": list(problems.prior_seeds),
    }


def begin_with(prior: Prior, state: State, problems: ProblemBatch) -> None:
    """Bring a fresh prior to where it was, before an optimiser is made for it.

    Args:
        prior: One that :meth:`Prior.initialise` has just been called on.
        state: What :meth:`FeatureInversion.progress` gave.
        problems: Those that are to be gone on with.

    Raises:
        ReadoutError: if the state is that of other problems.
    """
    if state["problems"] != identity(problems):
        raise ReadoutError(
            "A checkpoint of other problems was given to the fit; Lightning takes up `hpc_ckpt_*.ckpt` in its "
            "`default_root_dir` by itself, so delete those."
        )
    rows = state["running"]["rows"]
    if len(rows) < len(problems):
        prior.keep(rows)
    prior.resume(state["prior"])


class Resumable(LightningModule, ABC):
    """The part of an inversion that goes into a checkpoint and comes back out of it."""

    prior: Prior
    problems: ProblemBatch
    trajectory: Trajectory
    resumed: State | None = None
    """What the checkpoint said that this batch goes on from, if it does."""
    _running: Running
    _target: Target
    _present: Target
    _staying: Tensor | None
    _started: float

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put in how far the batch has come, in place of weights that are frozen."""
        checkpoint["state_dict"] = {}
        checkpoint["inversion"] = self.progress()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from there with problems that were loaded before.

        Raises:
            ReadoutError: if the checkpoint is that of others.
        """
        self.strict_loading = False
        self.resumed = checkpoint["inversion"]
        begin_with(self.prior, self.resumed, self.problems)

    def progress(self) -> State:
        """What a checkpoint needs to know of a batch beside what Lightning does.

        Subclasses add what their steps change, and take it from :attr:`resumed` in ``on_train_start``.
        """
        return {
            "problems": identity(self.problems),
            "prior": self.prior.progress(),
            "running": self._running.state(),
            "trajectory": self.trajectory.state(),
            "staying": self._staying,
            "random": random_states(),
            "seconds": time.perf_counter() - self._started,
        }

    def resume(self) -> None:
        """Bring everything that was just made for the first step to where it was, if this batch goes on."""
        state = self.resumed
        if state is None:
            return
        self._started -= state["seconds"]
        self._running.resume(state["running"])
        if len(self._running.rows) < len(self.problems):
            self._present = self._target.of(self._running.rows)
        self.trajectory = Trajectory.resumed(state["trajectory"], self.device)
        if state["staying"] is not None:  # it was saved before they were let go
            self._let_go(state["staying"].to(self.device))
        set_random_states(state["random"])

    @abstractmethod
    def _let_go(self, staying: Tensor) -> None:
        """Go on with these places of the batch only."""


def random_states() -> State:
    """The state of every global random number generator."""
    version, words, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": [version, list(words), gauss],
    }


def set_random_states(states: State) -> None:
    """Go on from :func:`random_states`."""
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
