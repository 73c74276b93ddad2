"""Small images side by side: sharp images where enlarged ones would be blurred."""

import math

import torch

from readout.common.checks import check_seed, check_side, check_whole
from readout.common.errors import ReadoutError
from readout.data.base import InputData, Sample
from readout.problems.identity import derive_seed


class Mosaics(InputData):
    """Squares of random images of another source, at their own resolution; for training data.

    Features of an early layer see little of an image at a time, and learn more from four sharp images of 32 pixels
    than from one of them enlarged to 64.

    Args:
        source: Data with the images, of one size, e.g. ``ImageFolder``.
        count: Number of mosaics; a larger one adds to a smaller one.
        size: Side of a mosaic in pixels; images beyond its edge are cut.
        seed: Seed of the choice of images.

    Raises:
        ReadoutError: if a number is out of range, or, on loading, an input of the source is not an image.

    Examples:
        >>> from readout.data import Photographs
        >>> mosaics = Mosaics(Photographs(size=16), count=2, size=64)
        >>> mosaics[1].name, mosaics[1].input.shape
        ('mosaic_00001', torch.Size([3, 64, 64]))
    """

    def __init__(self, source: InputData, count: int = 2000, size: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.source, self.count = source, check_whole("count", count, 1)
        self.size, self.seed = check_side("size", size), check_seed("seed", seed)

    def prepare_data(self) -> None:
        """Prepare the source."""
        self.source.prepare_data()

    def setup(self, stage: str) -> None:
        """Set up the source."""
        self.source.setup(stage)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        first = self.source[0].input
        if first.ndim != 3:
            raise ReadoutError("Mosaics are of images; choose a source of images.")
        rows, columns = (math.ceil(self.size / side) for side in first.shape[1:])
        generator = torch.Generator().manual_seed(derive_seed("mosaic", self.seed, index))
        chosen = torch.randint(len(self.source), (rows, columns), generator=generator).tolist()
        whole = torch.cat([torch.cat([self.source[place].input for place in row], dim=2) for row in chosen], dim=1)
        return Sample(f"mosaic_{index:05d}", whole[:, : self.size, : self.size])
