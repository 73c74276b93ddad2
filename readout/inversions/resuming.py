"""What a checkpoint holds of an inversion in the middle of a batch, beside what Lightning knows.

Lightning keeps the step, the optimiser, its schedule and the precision's state. Here is the rest: what the prior has
come to, who has left the batch, what was recorded, and the state of every global random number generator. Targets are
computed anew, because they follow from the problems.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from readout.errors import ReadoutError
from readout.inversions.batch import ProblemBatch
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
