"""A linear decoder: ridge regression whose penalty is the noise in the feature that is read."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.decoders.noise import noise_variance
from readout.decoders.svd import thin_svd

PENALTIES = torch.logspace(-9, 0, 19, dtype=torch.float64)
"""Penalties that are tried by leaving features out, as shares of the largest squared singular value."""

TRIED = 256
"""Most dimensions of a signal that they are tried on."""


@dataclass(frozen=True)
class Ridge:
    """A fit of :func:`fit_ridge`; all tensors on one device."""

    mean_feature: Tensor
    """h̄, shape (D,)."""
    mean_signal: Tensor
    """s̄, shape (d,)."""
    directions: Tensor
    """Right singular vectors V of the centred training features, shape (r, D)."""
    singular_values: Tensor
    """In descending order, float64, shape (r,)."""
    coefficients: Tensor
    """Uᵀ S: the centred training signals along the left singular vectors, shape (r, d)."""
    count: int
    """Number n of training features."""
    least_noise: float
    """Noise variance that is assumed at least: the one at which the fit errs least on clean features left out."""

    def to(self, device: torch.device) -> "Ridge":
        """Return the fit on a device; itself if it is there."""
        if self.directions.device == device:
            return self
        moved: dict[str, Any] = {
            name: value.to(device) if isinstance(value, Tensor) else value for name, value in vars(self).items()
        }
        return Ridge(**moved)

    def read(self, feature: Tensor) -> Tensor:
        """Read the signal from moved features, each by itself.

        The noise variance σ² of a row is estimated from that row (:func:`readout.decoders.noise.noise_variance`). The
        estimate is then the ridge regression with penalty nσ², which is the posterior mean of a Gaussian signal. Where
        there is hardly any noise, the penalty is the one that generalises best.

        Args:
            feature: h′, shape (rows, D).

        Returns:
            Estimates, shape (rows, d), in the dtype of the signals.
        """
        centred = feature - self.mean_feature
        along = (centred @ self.directions.T).double()
        squares = along.square()
        spare_energy = (centred.double().square().sum(1) - squares.sum(1)).clamp_min(0)
        energy = self.singular_values.square()
        noise = noise_variance(squares, energy / self.count, spare_energy, feature.shape[1] - len(energy))
        noise = noise.clamp_min(self.least_noise)
        gain = self.singular_values / (energy + self.count * noise.unsqueeze(1))
        return self.mean_signal + (gain * along).to(self.coefficients) @ self.coefficients


def fit_ridge(features: Tensor, signals: Tensor) -> Ridge:
    """Fit a linear decoder from clean features to signals.

    Nothing larger than r × D or n × n is made; see :func:`readout.decoders.svd.thin_svd`.

    Args:
        features: Training features h, shape (n, D).
        signals: What is to be read, shape (n, d).

    Returns:
        The decoder; its noise is known only when it reads.

    Raises:
        ReadoutError: if all features are the same.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> signals = torch.rand(200, 2, generator=generator)
        >>> features = signals @ torch.randn(2, 12, generator=generator)
        >>> ridge = fit_ridge(features, signals)
        >>> torch.allclose(ridge.read(features[:5]), signals[:5], atol=1e-3)
        True
        >>> ridge.read(features[:5] + torch.randn(5, 12, generator=generator)).shape  # pulled towards the mean
        torch.Size([5, 2])
    """
    mean_feature, mean_signal = features.mean(0), signals.mean(0)
    left, values, directions = thin_svd(features - mean_feature)
    if not len(values):
        raise ReadoutError("All training features are the same, so nothing can be decoded; use another layer or data.")
    targets = (signals - mean_signal).double()
    coefficients = left.T @ targets
    least = _least_noise(left, values, targets[:, :: math.ceil(targets.shape[1] / TRIED)])
    return Ridge(mean_feature, mean_signal, directions, values, coefficients.to(signals), len(features), least)


def _least_noise(left: Tensor, values: Tensor, targets: Tensor) -> float:
    """Return the noise variance with the smallest leave-one-out error."""
    penalties = values[0].square() * PENALTIES.to(values)
    errors = leave_one_out(left, values, targets, penalties).mean(1)
    return float(penalties[errors.argmin()]) / len(left)


def leave_one_out(left: Tensor, values: Tensor, targets: Tensor, penalties: Tensor) -> Tensor:
    """Return mean squared leave-one-out errors in closed form (Allen's PRESS), shape (penalties, d).

    Args:
        left: Left singular vectors of the centred training features, shape (n, r).
        values: Singular values, shape (r,).
        targets: Centred signals, shape (n, d).
        penalties: Penalties to try, shape (penalties,).
    """
    energy, along, errors = values.square(), left.T @ targets, []
    for penalty in penalties:
        shrunk = left * (energy / (energy + penalty))
        leverage = 1 / len(left) + (shrunk * left).sum(1, keepdim=True)
        errors.append(((targets - shrunk @ along) / (1 - leverage)).square().mean(0))
    return torch.stack(errors)
