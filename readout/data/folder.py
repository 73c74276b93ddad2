"""Images from a folder."""

import random
from pathlib import Path

from torch import Tensor

from readout.common.checks import check_seed, check_side, check_whole
from readout.common.errors import ReadoutError
from readout.common.files import as_text, find_files, user_path
from readout.data.base import InputData, Sample
from readout.data.images import is_readable_format, read_image, resize_and_crop, suffixes


class ImageFolder(InputData):
    """Images in a folder, flat or with one subfolder per class (ImageNet's layout).

    An image's label is the name of its class folder, directly below ``folder``; None in a flat folder. All formats that
    Pillow decodes itself are read. Other files are skipped with a printed note, hidden files silently. See
    :func:`readout.data.images.from_picture` for transparency, EXIF orientation and 16-bit greys.

    Args:
        folder: The folder, searched with its subfolders.
        size: Side of the square images in pixels; the shorter side is resized to it and the centre cropped.
        limit: Number of images to draw at random; None for all.
        seed: Seed of that draw.
        skip_unreadable: Skip files that can't be read, printing the name of each, instead of raising.

    Raises:
        ReadoutError: if the folder is missing or holds too few images, or a number is out of range. Loading raises if
            an image can't be read.
    """

    def __init__(
        self,
        folder: str,
        size: int = 224,
        limit: int | None = None,
        seed: int = 0,
        skip_unreadable: bool = False,
    ) -> None:
        super().__init__()
        root = user_path(folder)
        if not root.is_dir():
            raise ReadoutError(f"There is no folder {folder!r}; give the path of a folder of images.")
        self.folder, self.size, self.seed = folder, check_side("size", size), check_seed("seed", seed)
        self.limit = None if limit is None else check_whole("limit", limit, 1, hint=", or null for all")
        self.skip_unreadable = skip_unreadable
        files = find_images(root)
        if skip_unreadable:
            files = [path for path in files if _readable(path)]
        if not files:
            raise ReadoutError(f"The folder {folder!r} holds no images (.jpeg, .png, .webp, …); add some.")
        if self.limit is not None:
            if self.limit > len(files):
                raise ReadoutError(
                    f"limit is {limit}, but {folder!r} holds {len(files)} images; set it between 1 and {len(files)}."
                )
            files = sorted(random.Random(self.seed).sample(files, self.limit))
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        path = self.files[index]
        name = path.relative_to(user_path(self.folder))
        label = as_text(name.parts[0]) if len(name.parts) > 1 else None
        return Sample(as_text(name), resize_and_crop(self._read(path), self.size), label)

    def _read(self, path: Path) -> Tensor:
        try:
            return read_image(path)
        except ReadoutError as error:
            raise ReadoutError(
                f"{str(error).rstrip('.')}, or set `skip_unreadable: true` to skip such files."
            ) from error


def find_images(root: Path) -> list[Path]:
    """Return the image files in a folder and below, sorted; files without a suffix are recognised by content."""
    return find_files(
        root,
        lambda path: path.suffix.lower() in suffixes() or (not path.suffix and is_readable_format(path)),
        "images Pillow reads",
    )


def _readable(path: Path) -> bool:
    try:
        read_image(path)
    except ReadoutError:
        print(f"skipped, unreadable as an image: {as_text(path)}")
        return False
    return True
