"""What the features of a batch are driven towards, and how far from it they are."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from readout.inversions.losses import FeatureLoss
from readout.metrics import correlation_distance
from readout.padding import expand


@dataclass(frozen=True)
class Target:
    """Clean features h and perturbed features h', one row a problem, with what follows from them."""

    clean: Tensor
    perturbed: Tensor
    mask: Tensor | None
    """What features consist of, over leading dimensions; the rest is padding."""
    loss: FeatureLoss
    floor: Tensor
    """L(x), the loss at the true input, shape (problems,)."""
    scale: Tensor
    """Loss between h and its own mean; for a squared error Var(h). Shape (problems,)."""
    feature_distance: Tensor
    """Realised d_H(h', h), shape (problems,)."""

    @classmethod
    def make(cls, clean: Tensor, perturbed: Tensor, mask: Tensor | None, loss: FeatureLoss) -> Self:
        """The target of features of shape (problems, ...)."""
        # on the CPU: not every accelerator has float64
        wide = (perturbed.cpu().double(), clean.cpu().double(), None if mask is None else mask.cpu())
        return cls(
            clean,
            perturbed,
            mask,
            loss,
            floor=_losses(loss, clean, perturbed, mask),
            scale=loss.scale(clean, mask),
            feature_distance=correlation_distance(*wide),
        )

    def of(self, rows: Tensor) -> Self:
        """The target of these problems only."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        changes: dict[str, Any] = {name: value[rows] for name, value in values if isinstance(value, Tensor)}
        return replace(self, **changes)

    def losses(self, feature: Tensor) -> Tensor:
        """Loss of each feature against h', shape (problems,)."""
        return _losses(self.loss, feature, self.perturbed, self.mask)

    def distances(self, feature: Tensor) -> Tensor:
        """d_H of each feature to h, shape (problems,)."""
        return correlation_distance(feature, self.clean, self.mask)

    def dimensions(self) -> Tensor:
        """Dimensions of each feature, padding left out, shape (problems,)."""
        counts = torch.ones_like(self.clean, dtype=torch.bool) if self.mask is None else expand(self.mask, self.clean)
        return counts.flatten(1).sum(1)


def _losses(loss: FeatureLoss, feature: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    # a loss for images need not know of masks
    losses: Tensor = loss(feature, target) if mask is None else loss(feature, target, mask)
    return losses
