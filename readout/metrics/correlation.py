"""Correlation distance: d_H, and the paper's d_X for images."""

import torch
from torch import Tensor

from readout.common.padding import expand, masked_mean
from readout.metrics.base import SampleMetric


def correlation_distance(x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return 1 − Pearson's r between paired rows, each flattened.

    A constant row has no correlation with anything, so its distance is 1. Equal rows that are not constant have
    distance exactly 0, and a NaN in either row gives NaN.

    Args:
        x: Shape (samples, ...).
        y: Same shape.
        mask: True where values count, over leading dimensions, e.g. (samples, positions); must include the first
            position. None counts everything.

    Returns:
        Distances in [0, 2], shape (samples,).

    Examples:
        >>> x = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
        >>> y = torch.tensor([[1.0, 3.0, 5.0], [2.0, 1.0, 0.0], [4.0, 4.0, 4.0]])
        >>> correlation_distance(x, y).round(decimals=4)
        tensor([0., 2., 1.])
    """
    counts = None if mask is None else expand(mask, x).flatten(1)
    x, y = x.flatten(1), y.flatten(1)
    # tested on the values: rounding would leave equal rows a distance and constant rows a variance
    equal = x == y
    same = (equal if counts is None else equal | ~counts).all(1)
    constant = _constant(x, counts) | _constant(y, counts)
    x, y = _centred(x, counts), _centred(y, counts)
    norms = x.norm(dim=1) * y.norm(dim=1)
    correlation: Tensor = (x * y).sum(1) / norms.clamp_min(torch.finfo(norms.dtype).tiny)
    return torch.clamp(1 - correlation, 0, 2).masked_fill(same, 0).masked_fill(constant & ~correlation.isnan(), 1)


class CorrelationDistance(SampleMetric):
    """The paper's d_X for images: :func:`correlation_distance` over all pixels and channels.

    Examples:
        >>> image = torch.rand(1, 3, 8, 8)
        >>> CorrelationDistance().per_sample(1 - image, image).round(decimals=4)
        tensor([2.])
    """

    name = "correlation_distance"
    higher_is_better = False
    threshold = 0.1

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :func:`correlation_distance`."""
        return correlation_distance(recovered, true)


def extremes(x: Tensor, counts: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the least and the largest counted value of each row, shape (rows,) each; NaN if there is one."""
    counted = x if counts is None else x.where(counts, x[:, :1])
    return counted.amin(1), counted.amax(1)


def _constant(x: Tensor, counts: Tensor | None) -> Tensor:
    # extremes take a quarter of the time of a comparison with the first value
    low, high = extremes(x, counts)
    return low == high


def _centred(x: Tensor, counts: Tensor | None) -> Tensor:
    centred = x - masked_mean(x, counts).unsqueeze(1)
    return centred if counts is None else centred.where(counts, 0)
