"""Linear decoders, by their action on singular directions of the linearised network."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Filter(ABC):
    """Linear decoder x̂ = m + C^½ ψ(A) Mᵀ (h′ − f(m)), with M = J C^½ and A = MᵀM."""

    @abstractmethod
    def gain(self, eigenvalues: Tensor, variances: Tensor) -> Tensor:
        """Return λψ(λ), the share of each direction of the input that is transmitted.

        Args:
            eigenvalues: λ ≥ 0 of A.
            variances: σ² > 0 of the noise; broadcasts against ``eigenvalues``.
        """

    def noise(self, eigenvalues: Tensor, variances: Tensor) -> Tensor:
        """Return σ²λψ(λ)², the variance of the noise transmitted in each direction."""
        gain = self.gain(eigenvalues, variances)
        return torch.where(eigenvalues > 0, variances * gain.square() / eigenvalues.clamp_min(_TINY), 0.0)


class PosteriorMean(Filter):
    """Optimal decoder for a Gaussian prior and known noise variance, ψ = 1 / (λ + σ²).

    Examples:
        >>> PosteriorMean().gain(torch.tensor([0.0, 1.0, 3.0]), torch.tensor(1.0)).tolist()
        [0.0, 0.5, 0.75]
    """

    def gain(self, eigenvalues: Tensor, variances: Tensor) -> Tensor:
        """See :meth:`Filter.gain`."""
        return eigenvalues / (eigenvalues + variances)


class GradientDescent(Filter):
    """Gradient descent on ‖f(x̂) − h′‖² / 2 for k steps, ψ = (1 − (1 − ηλ)ᵏ) / λ, independent of the noise.

    Args:
        step_size: η, at most 1 / λ of the largest eigenvalue.
        steps: k; the decoder tends to the pseudo-inverse as k grows.
    """

    def __init__(self, step_size: float, steps: int) -> None:
        self.step_size = step_size
        self.steps = steps

    def gain(self, eigenvalues: Tensor, variances: Tensor) -> Tensor:
        """See :meth:`Filter.gain`."""
        arrived = 1 - (1 - self.step_size * eigenvalues).clamp_min(0) ** self.steps
        return arrived.expand_as(eigenvalues + variances)


_TINY = torch.finfo(torch.float64).tiny
"""Smallest divisor; an eigenvalue below it counts as 0."""
