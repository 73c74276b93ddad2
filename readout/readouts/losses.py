"""Losses between a recovered input's feature and the target, one value per problem."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from readout.common.checks import check_number
from readout.common.errors import ReadoutError
from readout.common.padding import masked_mean
from readout.data import Samples
from readout.extractors import FeatureExtractor

Extract = Callable[[Tensor], Tensor]
"""Maps inputs to their features at a layer, on the device of the readout."""


class FeatureLoss(nn.Module, ABC):
    """A loss between features, computed for each problem independently."""

    capturable: ClassVar[bool] = False
    """Whether :meth:`forward` can run in a CUDA graph: it never waits for the device, and every step is alike."""

    def meet(self, extractor: FeatureExtractor, samples: Samples, shape: Sequence[int] | None) -> None:
        """Load what the loss is made from, before anything else is asked; by default nothing.

        Args:
            extractor: The frozen network.
            samples: True inputs, as far as they are known.
            shape: Shape of every input; None for texts.
        """

    def prepare(self, extract: Extract, layer: str) -> None:
        """Measure what the loss needs to know of a layer, before it is used there; by default nothing.

        Args:
            extract: Computes features at the layer.
            layer: Layer name.
        """

    @abstractmethod
    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the loss of each problem.

        Args:
            feature: Shape (problems, ...).
            target: Same shape.
            mask: True where a text has a token, shape (problems, positions). Passed for texts only, so a loss for
                images may omit the argument.

        Returns:
            Losses of shape (problems,).
        """

    def scale(self, feature: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss between a feature and its mean, the unit of tolerances; the variance for a squared error.

        Args:
            feature: Shape (problems, ...).
            mask: As for :meth:`forward`.

        Returns:
            Shape (problems,).
        """
        mean = expanded(masked_mean(feature, mask), feature)
        scale: Tensor = self(mean, feature) if mask is None else self(mean, feature, mask)
        return scale


class MeanSquaredError(FeatureLoss):
    """Mean squared error over all dimensions of a feature; the paper's loss for images.

    Examples:
        >>> import torch
        >>> MeanSquaredError()(torch.zeros(2, 3), torch.tensor([[1.0, 1.0, 1.0], [3.0, 0.0, 0.0]]))
        tensor([1., 3.])
    """

    capturable = True

    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`FeatureLoss`."""
        return masked_mean((feature - target).square(), mask)


class RelativeSquaredError(MeanSquaredError):
    """Mean squared error over the variance of h′.

    A prior's penalty of fixed weight then counts more the noisier a feature is, and equally at every layer.

    Examples:
        >>> import torch
        >>> RelativeSquaredError()(torch.zeros(2, 2), torch.tensor([[1.0, -1.0], [3.0, -3.0]]))
        tensor([1., 1.])
    """

    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`FeatureLoss`."""
        mean = expanded(masked_mean(target, mask), target)
        return super().forward(feature, target, mask) / super().forward(mean, target, mask)


class MeanSquaredErrorAndCosine(FeatureLoss):
    """Weighted sum of mean squared error and cosine distance; the paper's loss for texts.

    The cosine is taken over the last dimension (a token's hidden state) and averaged over positions. The paper does
    not state the weights.

    Args:
        squared_error: Weight of the mean squared error.
        cosine: Weight of the cosine distance, 1 − cos.

    Raises:
        ReadoutError: if a weight is out of range, or both are 0.

    Examples:
        >>> import torch
        >>> MeanSquaredErrorAndCosine(cosine=2.0)(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]]))
        tensor([3.])
    """

    def __init__(self, squared_error: float = 1.0, cosine: float = 1.0) -> None:
        super().__init__()
        self.squared_error = check_number("squared_error", squared_error, 0)
        self.cosine = check_number("cosine", cosine, 0)
        if not squared_error and not cosine:
            raise ReadoutError("The loss weights squared_error and cosine are both 0; set one above 0.")

    def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """See :class:`FeatureLoss`; features of shape (problems, ..., width)."""
        squared_error = masked_mean((feature - target).square(), mask)
        cosine = masked_mean(1 - F.cosine_similarity(feature, target, dim=-1), mask)
        return self.squared_error * squared_error + self.cosine * cosine


def expanded(values: Tensor, like: Tensor) -> Tensor:
    """Expand a value per row, shape (rows,), to the shape of ``like``, (rows, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1)).expand_as(like)
