"""The distance between signals that are one of several: a class, or a candidate."""

import torch
from torch import Tensor

from readout.metrics.base import SampleMetric


class ZeroOne(SampleMetric):
    """0 if the signal is the true one, else 1.

    Examples:
        >>> ZeroOne().per_sample(torch.tensor([3, 5]), torch.tensor([3, 4]))
        tensor([0., 1.])
    """

    name = "zero_one"
    higher_is_better = False
    threshold = 0.5

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :class:`SampleMetric`; shape (samples, ...). NaN where the true signal is."""
        return _differ(recovered, true).float().masked_fill(_differ(true, true), torch.nan)


def _differ(one: Tensor, other: Tensor) -> Tensor:
    return (one != other).reshape(len(one), -1).any(1)
