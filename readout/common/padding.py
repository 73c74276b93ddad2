"""Padding for rows of different lengths, on the right; it enters no feature, loss or score."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

PADDING = -1
"""Placeholder where a row of token ids has no token."""


def pad(inputs: Sequence[Tensor]) -> Tensor:
    """Stack inputs of one shape, or rows of token ids, padded with :data:`PADDING` to the longest.

    Examples:
        >>> pad([torch.tensor([5, 6, 7]), torch.tensor([8])])
        tensor([[ 5,  6,  7],
                [ 8, -1, -1]])
    """
    if inputs[0].is_floating_point():
        return torch.stack(list(inputs))
    return pad_sequence(list(inputs), batch_first=True, padding_value=PADDING)


def unpad(x: Tensor) -> Tensor:
    """Undo :func:`pad` for one row."""
    return x if x.is_floating_point() else x[x != PADDING]


def expand(mask: Tensor, values: Tensor) -> Tensor:
    """Expand a mask over leading dimensions, such as (rows, positions), to the shape of ``values``."""
    return mask.view(*mask.shape, *[1] * (values.ndim - mask.ndim)).expand_as(values)


def masked_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean of each row.

    Args:
        values: Shape (rows, ...).
        mask: True where values count, over leading dimensions of ``values``; None counts all.

    Returns:
        Shape (rows,).

    Examples:
        >>> masked_mean(torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[True, True, False]]))
        tensor([2.])
    """
    if mask is None:
        # flattening would copy features whose memory layout is channels-last
        return values.sum(dim=tuple(range(1, values.ndim))) / values[0].numel()
    mask = expand(mask, values).flatten(1)
    return values.flatten(1).where(mask, 0).sum(1) / mask.sum(1)
