"""Random crops of images: many training inputs from few."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from readout.common.checks import check_seed, check_side, check_whole
from readout.common.errors import ReadoutError
from readout.common.files import user_path
from readout.data.base import InputData, Sample
from readout.data.folder import find_images
from readout.data.images import read_image, resize_and_crop
from readout.data.photographs import NAMES, Photographs, check_names, photograph
from readout.problems.identity import derive_seed

FLAT = 0.02
"""Standard deviation below which a crop shows next to nothing, such as black sky, and is drawn again."""

TRIES = 20
"""How often it is."""


class Crops(InputData):
    """Random square crops of images, resized to one size.

    Image, side and position of a crop are drawn uniformly, by seed and index alone: a larger ``count`` adds to a
    smaller one. By default, the images are all bundled photographs except those that :class:`Photographs` reads by
    default.

    Args:
        folder: Folder of images, searched with its subfolders; None for bundled photographs.
        names: Names of bundled photographs; see :class:`Photographs`.
        count: Number of crops.
        size: Side of the resized crops in pixels.
        smallest: Smallest side of a crop in pixels of the image; an image that is smaller is cropped to its short side.
            The largest is the image's short side.
        seed: Seed of all draws.

    Raises:
        ReadoutError: if the folder is missing or holds no images, a name is unknown, both are given, or a number is out
            of range. Loading raises if an image can't be read.

    Examples:
        >>> crops = Crops(count=3, size=32)
        >>> crops[2].name, crops[2].input.shape
        ('crop_00002', torch.Size([3, 32, 32]))
    """

    def __init__(
        self,
        folder: str | None = None,
        names: Sequence[str] | None = None,
        count: int = 2000,
        size: int = 64,
        smallest: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if folder is not None and names is not None:
            raise ReadoutError("Crops are of a folder or of bundled photographs; give `folder` or `names`, not both.")
        self.folder, self.names = folder, None if names is None else check_names(names)
        self.count, self.seed = check_whole("count", count, 1), check_seed("seed", seed)
        self.size, self.smallest = check_side("size", size), check_side("smallest", smallest)
        self.sources: Sequence[str | Path] = self.names or OTHERS
        if folder is not None:
            root = user_path(folder)
            self.sources = find_images(root) if root.is_dir() else []
            if not self.sources:
                raise ReadoutError(f"There is no folder {folder!r} with images to crop; give the path of one.")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        generator = torch.Generator().manual_seed(derive_seed("crop", self.seed, index))
        crop = self._draw(generator)
        for _ in range(TRIES):
            if crop.std() >= FLAT:
                break
            crop = self._draw(generator)
        return Sample(f"crop_{index:05d}", crop)

    def _draw(self, generator: torch.Generator) -> Tensor:
        # float64, so that products with sizes are below the sizes
        which, *shares = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
        source = self.sources[int(which * len(self.sources))]
        image = photograph(source) if isinstance(source, str) else read_image(source)
        height, width = image.shape[-2:]
        short = min(height, width)
        least = min(self.smallest, short)
        side = least + int(shares[0] * (short - least + 1))
        top, left = int(shares[1] * (height - side + 1)), int(shares[2] * (width - side + 1))
        return resize_and_crop(image[:, top : top + side, left : left + side], self.size)


OTHERS = [name for name in NAMES if name not in Photographs().names]
