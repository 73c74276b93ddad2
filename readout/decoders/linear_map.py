"""Ridge regression with a penalty per output, by leaving rows out."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.decoders.ridge import TRIED, leave_one_out
from readout.decoders.svd import thin_svd

PENALTIES = torch.logspace(-7, 2, 19, dtype=torch.float64)
"""Penalties that are tried, as shares of the largest squared singular value; the largest leaves the mean alone."""


@dataclass(frozen=True)
class LinearMap:
    """A fit of :func:`fit_linear_map`."""

    mean_input: Tensor
    """Shape (D,)."""
    mean_output: Tensor
    """Shape (d,)."""
    directions: Tensor
    """Right singular vectors of the centred inputs, shape (r, D)."""
    coefficients: Tensor
    """Weight of each direction in each output, shape (r, d)."""
    penalties: Tensor
    """Penalty of each output, float64, shape (d,)."""

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the outputs of inputs, shape (rows, d)."""
        return self.mean_output + (rows - self.mean_input) @ self.directions.T @ self.coefficients


def fit_linear_map(inputs: Tensor, outputs: Tensor, shared: bool = False) -> LinearMap:
    """Fit outputs to inputs by ridge regression; nothing larger than r × D or n × n is made.

    Args:
        inputs: Shape (n, D).
        outputs: Shape (n, d).
        shared: Whether all outputs share the penalty with the smallest mean squared error, estimated on at most
            :data:`readout.decoders.ridge.TRIED` of them; otherwise each has its own.

    Raises:
        ReadoutError: if all inputs are the same.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> inputs = torch.randn(100, 300, generator=generator)
        >>> outputs = inputs[:, :2] + torch.tensor([0.0, 9.0]) * torch.randn(100, 2, generator=generator)
        >>> low, high = fit_linear_map(inputs, outputs).penalties.tolist()
        >>> low < high  # the second output is little but noise
        True
    """
    mean_input, mean_output = inputs.mean(0), outputs.mean(0)
    left, values, directions = thin_svd(inputs - mean_input)
    if not len(values):
        raise ReadoutError("All inputs of a regression are the same; give others.")
    targets = (outputs - mean_output).double()
    tried = targets[:, :: math.ceil(targets.shape[1] / TRIED)] if shared else targets
    penalties = values[0].square() * PENALTIES.to(values)
    errors = leave_one_out(left, values, tried, penalties)
    best = penalties[errors.mean(1).argmin()].expand(targets.shape[1]) if shared else penalties[errors.argmin(0)]
    gain = values.unsqueeze(1) / (values.square().unsqueeze(1) + best)
    return LinearMap(mean_input, mean_output, directions, (gain * (left.T @ targets)).to(outputs), best)
