"""Small models that draw their own batches, fitted by Lightning."""

from abc import abstractmethod
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import LinearLR

from readout.sweep.runtime import Runtime, quiet_lightning


class FittedModel(LightningModule):
    """A model fitted by Adam, whose learning rate falls linearly to 0.

    Args:
        steps: Number of steps.
        lr: First learning rate.
        seed: Seed of the batches.
    """

    def __init__(self, steps: int, lr: float, seed: int = 0) -> None:
        super().__init__()
        self.steps, self.lr = steps, lr
        self.generator = torch.Generator().manual_seed(seed)
        """Source of randomness of :meth:`loss`."""

    @abstractmethod
    def loss(self) -> Tensor:
        """Draw a batch and return its loss."""

    def fit(self) -> None:
        """Fit the model."""
        with quiet_lightning():
            Runtime({"max_steps": self.steps, "devices": 1}).make_bare_trainer().fit(self, range(self.steps))
        self.cpu().requires_grad_(False)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam with its schedule."""
        optimizer = Adam(self.parameters(), lr=self.lr)
        schedule = LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of a batch of its own.

        Args:
            batch: Ignored.
            batch_idx: Ignored.
        """
        return self.loss()
