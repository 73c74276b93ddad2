"""Controls made from real images by scrambling Fourier phases or shuffling pixels."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from readout.common.checks import check_seed
from readout.common.errors import ReadoutError
from readout.data.base import InputData, Sample
from readout.extractors import FeatureExtractor
from readout.problems.identity import derive_seed


class _Scrambled(InputData):
    """Scrambled images of another source; the scrambling of each depends only on the seed and its name."""

    kind: ClassVar[str]

    def __init__(self, source: InputData, seed: int = 0) -> None:
        super().__init__()
        self.source, self.seed = source, check_seed("seed", seed)

    def prepare_data(self) -> None:
        """Prepare the source."""
        self.source.prepare_data()

    def setup(self, stage: str) -> None:
        """Set up the source."""
        self.source.setup(stage)

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Prepare the source for the network."""
        self.source.prepare_for(extractor)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        name, image, label = self.source[index]
        if image.ndim != 3:
            raise ReadoutError(
                f"{type(self).__name__} takes images of shape (channels, height, width), but {name!r} has shape "
                f"{tuple(image.shape)}; choose a source of images."
            )
        generator = torch.Generator().manual_seed(derive_seed(self.kind, self.seed, name))
        # prefixed, so that it is never mistaken for the original
        return Sample(f"{self.kind}/{name}", self._scramble(image, generator), label)

    @abstractmethod
    def _scramble(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Return a scrambled image of the same shape."""


class PhaseScrambled(_Scrambled):
    """Images with random Fourier phases: the spectrum of natural images without their content.

    Each image keeps its amplitude spectrum and its mean. All channels get the same random phase field, which preserves
    correlations between channels. Clipping to [0, 1] changes spectrum and mean slightly: in the photographs that come
    with the package, it affects up to about a tenth of the values and moves the mean by at most 0.02.
    :func:`scramble_phases` returns the image before clipping.

    Args:
        source: Data with the images, e.g. ``Photographs`` or ``ImageFolder``.
        seed: Seed of the phases, which also depend on the image's name.

    Raises:
        ReadoutError: on loading, if an input of the source is not an image.

    Examples:
        >>> from readout.data import Photographs
        >>> PhaseScrambled(Photographs(["coffee"], size=32))[0].name
        'phase_scrambled/coffee'
    """

    kind = "phase_scrambled"

    def _scramble(self, image: Tensor, generator: torch.Generator) -> Tensor:
        return scramble_phases(image, generator).clamp(0, 1)


class PixelShuffled(_Scrambled):
    """Images with their pixels in random order: the colours of natural images without any structure.

    Args:
        source: Data with the images, e.g. ``Photographs`` or ``ImageFolder``.
        seed: Seed of the order, which also depends on the image's name.

    Raises:
        ReadoutError: on loading, if an input of the source is not an image.
    """

    kind = "pixel_shuffled"

    def _scramble(self, image: Tensor, generator: torch.Generator) -> Tensor:
        pixels = image.flatten(1)
        return pixels[:, torch.randperm(pixels.shape[1], generator=generator)].view(image.shape)


def scramble_phases(image: Tensor, generator: torch.Generator) -> Tensor:
    """Add one random phase field to the Fourier phases of every channel.

    The field consists of the phases of white noise: uniform, independent, and odd in frequency, so the image stays
    real. The phase at frequency zero is kept, and with it each channel's mean.

    Args:
        image: Shape (channels, height, width).
        generator: Random generator for the field.

    Returns:
        The image, not clipped, shape (channels, height, width).
    """
    shape = image.shape[-2:]
    phases = torch.fft.rfft2(torch.randn(shape, generator=generator, dtype=torch.float64)).angle()
    phases[0, 0] = 0
    spectrum = torch.fft.rfft2(image.double()) * torch.exp(1j * phases)
    scrambled: Tensor = torch.fft.irfft2(spectrum, s=shape)
    return scrambled.to(image.dtype)
