"""Principal components of a feature, weighted by how far they stand out of the noise in it."""

import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.decoders.noise import noise_variance
from readout.decoders.svd import thin_svd

SMALLEST_NOISE = 1e-3
"""Smallest noise that is assumed, as a share of the mean variance of a dimension: what is weaker differs more between
sets of inputs than it says about one."""


class Whitening(nn.Module):
    """Coordinates of h′ along the principal components of clean features, each times √λ / (λ + σ²).

    For a Gaussian feature this is the posterior mean in units of its standard deviation: a component far above the
    noise has variance 1, one far below it vanishes. λ are the variances of training features, and σ² is the noise that
    this h′ shows by itself; see :func:`readout.decoders.noise.noise_variance`.

    Args:
        size: Dimensions of a position.
        rank: Number of components.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor

    def __init__(self, size: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("directions", torch.eye(rank, size))
        self.register_buffer("variances", torch.ones(rank))

    def fit(self, features: Tensor, signals: Tensor) -> Tensor:
        """Measure the components; where features have fewer of them than ``rank``, the others are 0.

        Args:
            features: Clean features of training inputs, shape (features, positions, size).
            signals: What belongs to each position, shape (features, positions, values), with mean 0.

        Returns:
            Weights of the ridge regression from this module's output to the signals, shape (values, rank).

        Raises:
            ReadoutError: if all features are the same.
        """
        rows = features.flatten(0, 1)
        mean = rows.mean(0)
        left, values, directions = thin_svd(rows - mean)
        if not len(values):
            raise ReadoutError("All training features are the same, so nothing can be decoded; use another layer.")
        kept = min(len(values), len(self.variances))
        self.mean.copy_(mean)
        self.directions.zero_()[:kept] = directions[:kept]
        self.variances.zero_()[:kept] = values[:kept].square() / len(rows)
        weights = signals.new_zeros(signals.shape[-1], len(self.variances))
        weights[:, :kept] = (left[:, :kept].T @ signals.flatten(0, 1).double()).T / len(rows) ** 0.5
        return weights

    def forward(self, feature: Tensor) -> Tensor:
        """Return weighted coordinates, shape (rows, positions, rank), of features (rows, positions, size)."""
        with torch.autocast(feature.device.type, enabled=False):  # the noise is told by the weakest components
            centred = feature.float() - self.mean
            along = centred @ self.directions.T
            gain = self.gain(along.detach(), centred.detach())
            return along * gain.to(along).unsqueeze(1)

    def gain(self, along: Tensor, centred: Tensor) -> Tensor:
        """Return √λ / (λ + σ²), shape (rows, rank).

        Args:
            along: Coordinates of h′ along the components, shape (rows, positions, rank).
            centred: h′ minus the mean, shape (rows, positions, size).
        """
        kept, size = int(self.variances.count_nonzero()), len(self.mean)
        energies, variances = along[..., :kept].double().square().mean(1), self.variances[:kept].double()
        spare_energy = centred.square().sum(2, dtype=torch.float64).mean(1) - energies.sum(1)
        noise = noise_variance(energies, variances, spare_energy.clamp_min(0), size - kept)
        noise = noise.clamp_min(SMALLEST_NOISE * variances.sum() / size).unsqueeze(1)
        return self.variances.double().sqrt() / (self.variances + noise)
