"""Gaussian priors over inputs, for linear decoders."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from readout.common.checks import check_number
from readout.common.errors import ReadoutError
from readout.data.images import is_image
from readout.prediction.probes import random_phases, random_signs

CHANNEL_CORRELATION = 0.93
"""Correlation between the colour channels of natural images."""


class GaussianPrior(ABC):
    """Gaussian over inputs, given by its mean and C^½, the symmetric root of its covariance.

    Args:
        x: The input to predict for, shape (*input_shape).
    """

    def __init__(self, x: Tensor) -> None:
        self.mean = torch.full_like(x, float(x.mean()))

    @abstractmethod
    def root(self, rows: Tensor) -> Tensor:
        """Multiply each row by C^½, shape (rows, *input_shape)."""

    @abstractmethod
    def whiten(self, rows: Tensor) -> Tensor:
        """Multiply each row by C^-½, shape (rows, *input_shape)."""

    @abstractmethod
    def probes(self, count: int, seed: int) -> Tensor:
        """Draw random z with E[zzᵀ] = I whose trace estimates scatter little, shape (count, *input_shape)."""


class NaturalImages(GaussianPrior):
    """Gaussian over images with 1/f² power per channel, correlated channels and the variance of ``x``.

    It is stationary on the torus, so C^½ is a filter, applied by FFT. Frequency 0 has the power of the lowest other
    frequency. The scale makes an image drawn from it have, on average, the variance of ``x`` about its mean.

    Args:
        x: An image, shape (channels, height, width), 1 or 3 channels.
        channel_correlation: Correlation between any two channels.

    Raises:
        ReadoutError: if ``x`` is not an image.
    """

    def __init__(self, x: Tensor, channel_correlation: float = CHANNEL_CORRELATION) -> None:
        super().__init__(x)
        if not is_image(x):
            raise ReadoutError(
                f"The prior of natural images needs an image of 1 or 3 channels, not a shape of {tuple(x.shape)}; "
                "use `prior='none'`."
            )
        check_number("channel_correlation", channel_correlation, 0, below=1)
        channels, height, width = x.shape
        correlation = torch.full((channels, channels), channel_correlation, dtype=torch.float64)
        shares, axes = torch.linalg.eigh(correlation.fill_diagonal_(1))
        powers = shares.view(-1, 1, 1) / _squared_frequencies(height, width)
        # d_X subtracts the grand mean (frequency 0, equal in all channels), so its power does not count as variance
        visible = powers.sum() - correlation.mean() * channels / _squared_frequencies(height, width)[0, 0]
        powers = powers * ((x - self.mean).double().square().sum().cpu() / visible)
        self._amplitudes = powers.sqrt().to(x)
        self._axes = axes.to(x)

    def root(self, rows: Tensor) -> Tensor:
        """See :meth:`GaussianPrior.root`."""
        return self._filtered(rows, self._amplitudes)

    def whiten(self, rows: Tensor) -> Tensor:
        """See :meth:`GaussianPrior.whiten`."""
        return self._filtered(rows, 1 / self._amplitudes)

    def probes(self, count: int, seed: int) -> Tensor:
        """Draw random phases in the eigenbasis of C, in which a convolutional network is nearly diagonal too."""
        decorrelated = random_phases(self.mean.shape, count, seed).to(self.mean)
        return torch.einsum("ca,nayx->ncyx", self._axes, decorrelated)

    def _filtered(self, rows: Tensor, amplitudes: Tensor) -> Tensor:
        decorrelated = torch.einsum("ca,ncyx->nayx", self._axes, rows)
        half = amplitudes[..., : rows.shape[-1] // 2 + 1]  # rfft2 leaves out the other half
        decorrelated = torch.fft.irfft2(torch.fft.rfft2(decorrelated) * half, rows.shape[-2:])
        return torch.einsum("ca,nayx->ncyx", self._axes, decorrelated)


class NoPrior(GaussianPrior):
    """No knowledge of inputs: C^½ is the identity, and the decoder starts from mid-grey, as the Pixels prior does."""

    def __init__(self, x: Tensor) -> None:
        super().__init__(x)
        self.mean = torch.full_like(x, 0.5)

    def root(self, rows: Tensor) -> Tensor:
        """See :meth:`GaussianPrior.root`."""
        return rows

    def whiten(self, rows: Tensor) -> Tensor:
        """See :meth:`GaussianPrior.whiten`."""
        return rows

    def probes(self, count: int, seed: int) -> Tensor:
        """Draw random phases for images, random signs for other inputs."""
        draw = random_phases if is_image(self.mean) else random_signs
        return draw(self.mean.shape, count, seed).to(self.mean)


def _squared_frequencies(height: int, width: int) -> Tensor:
    """Return f² of each frequency, in cycles per pixel; frequency 0 gets the value of the lowest other one."""
    rows, columns = torch.fft.fftfreq(height, dtype=torch.float64), torch.fft.fftfreq(width, dtype=torch.float64)
    squares: Tensor = rows.unsqueeze(1).square() + columns.square()
    squares[0, 0] = 1 / max(height, width) ** 2
    return squares
