"""How far a recovered input's feature is from the target, one value a problem."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from readout.common.checks import check_number
from readout.common.errors import ReadoutError
from readout.common.padding import masked_mean


class FeatureLoss(nn.Module, ABC):
    """A loss between features that never mixes problems."""

    capturable: ClassVar[bool] = False
    """Whether a GPU can take it into a graph: nothing in it waits for the device, or differs from step to step."""

    @abstractmethod
    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """One loss a problem.

        Args:
            feature: Shape (problems, ...).
            target: The same shape.
            mask: What counts, over leading dimensions: (problems, positions). Given for texts only, so a loss for
                images can do without.

        Returns:
            Shape (problems,).
        """

    def scale(self, feature: Tensor, mask: Tensor | None = None) -> Tensor:
        """Loss between a feature and its own mean, by which losses are judged; for a squared error its variance.

        Args:
            feature: Shape (problems, ...).
            mask: As for :meth:`forward`.

        Returns:
            Shape (problems,).
        """
        mean = masked_mean(feature, mask).view(-1, *[1] * (feature.ndim - 1)).expand_as(feature)
        scale: Tensor = self(mean, feature) if mask is None else self(mean, feature, mask)
        return scale


class MeanSquaredError(FeatureLoss):
    """Mean squared error over all dimensions of a feature; the paper's loss for images."""

    capturable = True

    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`FeatureLoss`."""
        return masked_mean((feature - target).square(), mask)


class MeanSquaredErrorAndCosine(FeatureLoss):
    """Mean squared error and cosine distance, weighted; the paper's loss for texts.

    The cosine is taken over the last dimension (a token's hidden state) and averaged over positions. The paper
    does not say how it weighs the two; here each counts 1 by default.

    Args:
        squared_error: Weight of the mean squared error.
        cosine: Weight of the cosine distance, 1 − cos.

    Raises:
        ReadoutError: if a weight is out of range, or both are 0.
    """

    def __init__(self, squared_error: float = 1.0, cosine: float = 1.0) -> None:
        super().__init__()
        self.squared_error = check_number("squared_error", squared_error, 0)
        self.cosine = check_number("cosine", cosine, 0)
        if not squared_error and not cosine:
            raise ReadoutError("The loss weights squared_error and cosine are both 0; give one of them some weight.")

    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`FeatureLoss`; features of shape (problems, ..., width)."""
        squared_error = masked_mean((feature - target).square(), mask)
        cosine = masked_mean(1 - F.cosine_similarity(feature, target, dim=-1), mask)
        return self.squared_error * squared_error + self.cosine * cosine
