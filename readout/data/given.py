"""Images that are at hand in Python."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL.Image import Image
from torch import Tensor

from readout.data.base import InputData, Sample
from readout.data.folder import ImageFolder
from readout.data.images import from_array, read_image, resize_and_crop
from readout.errors import ReadoutError
from readout.files import user_path

Images: TypeAlias = InputData | Tensor | str | Path | Sequence[Image | str | Path]
"""Any data; a batch (N, 3, height, width) in [0, 1]; a folder; or a list of PIL images and paths."""


class GivenImages(InputData):
    """Images by name.

    Args:
        images: Name → image, RGB float in [0, 1], shape (3, height, width).
    """

    def __init__(self, images: dict[str, Tensor]) -> None:
        super().__init__()
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        name = list(self.images)[index]
        return Sample(name, self.images[name])


def as_data(images: Images, size: int) -> InputData:
    """Whatever images a user has, as inputs of a sweep.

    Args:
        images: Data or a batch, as they are; a folder, or a list of PIL images and paths, resized and cropped.
        size: Side to which they are, in pixels.

    Raises:
        ReadoutError: if they are none of these, or one can't be read.
    """
    if isinstance(images, InputData):
        return images
    if isinstance(images, Tensor):
        if images.ndim != 4 or not images.is_floating_point():
            kind = str(images.dtype).removeprefix("torch.")
            raise ReadoutError(
                f"The images are a tensor of {kind} values of shape {tuple(images.shape)}; give floats in [0, 1] of "
                "shape (N, 3, height, width)."
            )
        if images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
            raise ReadoutError(
                f"The images have shape {tuple(images.shape)}, channels last; give images.permute(0, 3, 1, 2)."
            )
        return GivenImages({f"image_{place:03d}": image.detach().cpu() for place, image in enumerate(images)})
    if isinstance(images, str | Path):
        if not user_path(images).is_file():
            return ImageFolder(str(images), size=size)
        images = [images]
    if not isinstance(images, Sequence) or not len(images):
        raise ReadoutError("Give images as a tensor (N, 3, height, width), a folder, or a list of PIL images or paths.")
    named: dict[str, Tensor] = {}
    for place, image in enumerate(images):
        name = Path(image).name if isinstance(image, str | Path) else f"image_{place:03d}"
        if name in named:
            name = f"{place:03d}_{name}"
        named[name] = resize_and_crop(_read(image), size)
    return GivenImages(named)


def _read(image: Any) -> Tensor:
    if isinstance(image, Image):
        return from_array(np.asarray(image.convert("RGB")))
    if isinstance(image, str | Path):
        return read_image(user_path(image))
    raise ReadoutError(f"One of the images is a {type(image).__name__}; give PIL images or paths.")
