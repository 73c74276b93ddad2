"""Linear decoders: what each does to a singular direction of the linearised network."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class LinearDecoder(ABC):
    """A decoder x̂ = m + C^½ ψ(A) Mᵀ (h′ − f(m)), where M = J C^½ and A = MᵀM."""

    @abstractmethod
    def gain(self, eigenvalues: Tensor, variances: Tensor) -> Tensor:
        """λψ(λ): the share of a direction of the input that arrives.

        Args:
            eigenvalues: λ ≥ 0 of A.
            variances: σ² > 0 of the noise; broadcasts against ``eigenvalues``.
        """

    def noise(self, eigenvalues: Tensor, variances: Tensor) -> Tensor:
        """σ²λψ(λ)²: the variance of the noise that comes with it."""
        gain = self.gain(eigenvalues, variances)
        return torch.where(eigenvalues > 0, variances * gain.square() / eigenvalues.clamp_min(_TINY), 0.0)


class PosteriorMean(LinearDecoder):
    """The optimal one for a Gaussian prior, ψ = 1 / (λ + σ²); it knows how much noise there is."""

    def gain(self, eigenvalues: Tensor, variances: Tensor) -> Tensor:
        """See :meth:`LinearDecoder.gain`."""
        return eigenvalues / (eigenvalues + variances)


class GradientDescent(LinearDecoder):
    """k steps of gradient descent on ‖f(x̂) − h′‖² / 2, ψ = (1 − (1 − ηλ)ᵏ) / λ; whatever the noise.

    Args:
        step_size: η, at most 1 / λ of the largest eigenvalue.
        steps: k; the more, the nearer to the pseudo-inverse.
    """

    def __init__(self, step_size: float, steps: int) -> None:
        self.step_size = step_size
        self.steps = steps

    def gain(self, eigenvalues: Tensor, variances: Tensor) -> Tensor:
        """See :meth:`LinearDecoder.gain`."""
        arrived = 1 - (1 - self.step_size * eigenvalues).clamp_min(0) ** self.steps
        return arrived.expand_as(eigenvalues + variances)


_TINY = torch.finfo(torch.float64).tiny
"""Below this an eigenvalue is 0: the network does not see the direction at all."""
