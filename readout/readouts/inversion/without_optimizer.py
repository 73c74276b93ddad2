"""Inversions by an algorithm of their own, which takes the optimiser's place."""

from abc import abstractmethod
from typing import Any

import torch

from readout.readouts.batch import ProblemBatch
from readout.readouts.inversion.base import FeatureInversion


class WithoutOptimizer(FeatureInversion):
    """An inversion that optimises no parameters: one training step is one step of its own algorithm.

    A subclass implements :meth:`take_step` and ``_all_done``, which ends the fit. Arguments are those of
    :class:`FeatureInversion`.
    """

    _taken = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False

    @abstractmethod
    def take_step(self, step: int) -> None:
        """Take one step of every problem, without gradients.

        Args:
            step: Number of steps taken before.
        """

    @property
    def steps_taken(self) -> int:
        """Number of steps taken."""
        return self._taken

    def configure_optimizers(self) -> None:
        """Return None: nothing is optimised."""

    def load(self, problems: ProblemBatch) -> None:
        """See :class:`Readout`."""
        super().load(problems)
        self._taken = 0

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See :class:`readout.readouts.inversion.resuming.Resumable`."""
        super().on_load_checkpoint(checkpoint)
        assert self.resumed is not None
        self._taken = self.resumed["step"]

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        """Take one step, and end the fit after the last."""
        with torch.no_grad():
            self.take_step(self._taken)
        self._taken += 1
        if self._all_done():
            self.trainer.should_stop = True
