"""Rows of different lengths in one tensor: padding on the right that enters no feature, loss or score."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

PADDING = -1
"""Stands where a row of token ids has no token."""


def pad(inputs: Sequence[Tensor]) -> Tensor:
    """Stack inputs of one shape; token ids may differ in length, and are filled up with :data:`PADDING`."""
    if inputs[0].is_floating_point():
        return torch.stack(list(inputs))
    return pad_sequence(list(inputs), batch_first=True, padding_value=PADDING)


def unpad(x: Tensor) -> Tensor:
    """One row of :func:`pad` as it was."""
    return x if x.is_floating_point() else x[x != PADDING]


def expand(mask: Tensor, values: Tensor) -> Tensor:
    """A mask over leading dimensions, e.g. (rows, positions), brought to the shape of ``values``."""
    return mask.view(*mask.shape, *[1] * (values.ndim - mask.ndim)).expand_as(values)


def masked_mean(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of each row.

    Args:
        values: Shape (rows, ...).
        mask: What counts, over leading dimensions of ``values``; None for everything.

    Returns:
        Shape (rows,).
    """
    if mask is None:
        # over dimensions, not over a flattened copy: features may lie with channels last
        return values.sum(dim=tuple(range(1, values.ndim))) / values[0].numel()
    mask = expand(mask, values).flatten(1)
    return values.flatten(1).where(mask, 0).sum(1) / mask.sum(1)
