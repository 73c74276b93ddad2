"""The base class of trainings."""

from abc import ABC, abstractmethod
from typing import ClassVar

from lightning.pytorch import LightningModule
from torch import Tensor


class Training(LightningModule, ABC):
    """The training of a readout's weights at one layer, by ``Trainer.fit`` with ``range(steps)`` as its data.

    It chooses its batches itself, so that a resumed training ends with the weights of one that was not interrupted.
    """

    steps: int
    """Number of training steps."""

    resumable: ClassVar[bool] = True
    """Whether a training that was stopped goes on from a checkpoint; otherwise it starts over."""

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """Return the weights so far, on the CPU."""
