"""How far a recovered input's feature is from the target, one value a problem."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class FeatureLoss(nn.Module, ABC):
    """A loss between features that never mixes problems."""

    @abstractmethod
    def forward(self, feature: Tensor, target: Tensor) -> Tensor:
        """Losses of shape (problems,) from two tensors of shape (problems, ...)."""


class MeanSquaredError(FeatureLoss):
    """Mean squared error over all dimensions of a feature; the paper's loss for images."""

    def forward(self, feature: Tensor, target: Tensor) -> Tensor:
        """See :class:`FeatureLoss`."""
        return (feature - target).square().flatten(1).mean(1)
