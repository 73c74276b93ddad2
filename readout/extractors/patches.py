"""Whitened patches of images, from which Olshausen & Field learnt their dictionary."""

import torch
from torch import Tensor, nn

from readout.common.checks import check_whole
from readout.extractors.base import FeatureExtractor

CUTOFF = 0.4
"""Cycles per pixel at which the whitening filter begins to cut off: 200 per picture of 512 pixels in the paper."""


class Patches(FeatureExtractor):
    """Square patches of greyscale images, whitened; the one layer, ``patches``, has a patch per position.

    The filter is f · exp(−(f/f₀)⁴), which flattens the spectrum of natural images and cuts off what sampling distorts
    (Olshausen & Field, 1997).

    Args:
        size: Side of a patch in pixels.
        stride: Distance of patches in pixels.

    Raises:
        ReadoutError: if a number is below 1.

    Examples:
        >>> Patches(size=8, stride=4).extract(torch.rand(2, 3, 32, 32), "patches").shape
        torch.Size([2, 64, 7, 7])
    """

    def __init__(self, size: int = 12, stride: int = 4) -> None:
        self.size, self.stride = check_whole("size", size, 1), check_whole("stride", stride, 1)
        cut = nn.Conv2d(1, size**2, size, stride, bias=False, device="meta")  # skips its own initialisation
        cut.weight = nn.Parameter(torch.eye(size**2).view(-1, 1, size, size))
        super().__init__(nn.Sequential(_Whitening(), cut), layers={"patches": "1"})
        self.weights = f"whitened, {size} × {size}"

    def preprocess(self, x: Tensor) -> Tensor:
        """Return the mean of the channels, shape (batch, 1, height, width)."""
        return x.mean(1, keepdim=True)


class _Whitening(nn.Module):
    """The filter of :class:`Patches`."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        down, along = torch.fft.fftfreq(height, device=x.device), torch.fft.rfftfreq(width, device=x.device)
        frequency = (down.view(-1, 1).square() + along.square()).sqrt()
        gain = frequency * torch.exp(-((frequency / CUTOFF) ** 4))
        whitened: Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * gain, s=(height, width))
        return whitened
