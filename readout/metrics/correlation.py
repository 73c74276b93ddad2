"""Correlation distance: d_H, and d_X of images."""

import torch
from torch import Tensor

from readout.common.padding import expand, masked_mean
from readout.metrics.base import SampleMetric


def correlation_distance(x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """1 − Pearson's r of each pair of rows, flattened: the paper's d_H, and its d_X for images.

    A constant row says nothing of the other, so its correlation counts as 0 and its distance as 1. Equal rows that
    are not constant have distance 0 to the bit. Of a row with a NaN the distance is NaN.

    Args:
        x: Shape (samples, ...).
        y: The same shape.
        mask: What counts, over leading dimensions, e.g. (samples, positions), the first position always among it;
            None for everything.

    Returns:
        Distances in [0, 2], shape (samples,).
    """
    counts = None if mask is None else expand(mask, x).flatten(1)
    x, y = x.flatten(1), y.flatten(1)
    # compared, not computed: rounding would hide what is equal
    same = everywhere(x == y, counts)
    constant = everywhere(x == x[:, :1], counts) | everywhere(y == y[:, :1], counts)
    x, y = _centred(x, counts), _centred(y, counts)
    norms = x.norm(dim=1) * y.norm(dim=1)
    correlation: Tensor = (x * y).sum(1) / norms.clamp_min(torch.finfo(norms.dtype).tiny)
    return torch.clamp(1 - correlation, 0, 2).masked_fill(same, 0).masked_fill(constant & ~correlation.isnan(), 1)


class CorrelationDistance(SampleMetric):
    """:func:`correlation_distance`; the paper's d_X for images."""

    name = "correlation_distance"
    higher_is_better = False
    threshold = 0.1

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :func:`correlation_distance`."""
        return correlation_distance(recovered, true)


def everywhere(condition: Tensor, counts: Tensor | None) -> Tensor:
    """Rows of which a condition holds wherever values count, shape (rows,)."""
    return (condition if counts is None else condition | ~counts).all(1)


def _centred(x: Tensor, counts: Tensor | None) -> Tensor:
    centred = x - masked_mean(x, counts).unsqueeze(1)
    return centred if counts is None else centred.where(counts, 0)
