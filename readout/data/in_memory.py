"""Images in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.common.files import as_text, user_path
from readout.data.base import InputData, Sample
from readout.data.folder import ImageFolder
from readout.data.images import from_array, from_picture, read_image, resize_and_crop

Images: TypeAlias = InputData | Tensor | str | Path | Sequence[Image | str | Path | NDArray[Any] | Tensor]
"""Input data; a batch (N, 3, height, width) in [0, 1]; a folder or file; or a sequence of PIL images, paths, arrays
and tensors."""


class ImagesInMemory(InputData):
    """Named images in memory.

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
    """Turn images of any supported kind into inputs of a sweep.

    Args:
        images: Input data or a batch, which are used unchanged, or a folder, a file or a sequence, whose images are
            resized and cropped. In a sequence, arrays have channels last and tensors channels first; see
            :func:`readout.data.images.from_array`.
        size: Side in pixels to resize to.

    Raises:
        ReadoutError: if ``images`` is none of these, or an image can't be read.

    Examples:
        >>> array = np.zeros((40, 60, 3), dtype=np.uint8)
        >>> data = as_data([array], size=32)
        >>> data[0].name, data[0].input.shape
        ('image_000', torch.Size([3, 32, 32]))
    """
    if isinstance(images, InputData):
        return images
    if isinstance(images, Tensor):
        if images.ndim != 4 or not images.is_floating_point():
            kind = str(images.dtype).removeprefix("torch.")
            raise ReadoutError(
                f"The images are a tensor of {kind} values of shape {tuple(images.shape)}; pass floats in [0, 1] of "
                "shape (N, 3, height, width)."
            )
        if images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
            raise ReadoutError(
                f"The images have shape {tuple(images.shape)}, channels last; pass images.permute(0, 3, 1, 2)."
            )
        return ImagesInMemory({f"image_{place:03d}": image.detach().cpu() for place, image in enumerate(images)})
    if isinstance(images, str | Path):
        if not user_path(images).is_file():
            return ImageFolder(str(images), size=size)
        images = [images]
    if not isinstance(images, Sequence) or not len(images):
        raise ReadoutError(
            "Pass images as a tensor (N, 3, height, width), a folder, or a list of PIL images, paths, arrays, tensors."
        )
    named: dict[str, Tensor] = {}
    for place, image in enumerate(images):
        name = as_text(Path(image).name) if isinstance(image, str | Path) else f"image_{place:03d}"
        if name in named:
            name = f"{place:03d}_{name}"
        named[name] = resize_and_crop(_read(image, name), size)
    return ImagesInMemory(named)


def _read(image: Any, name: str) -> Tensor:
    if isinstance(image, Image):
        return from_picture(image, name)
    if isinstance(image, str | Path):
        return read_image(user_path(image))
    if isinstance(image, np.ndarray):
        return from_array(image, name)
    if isinstance(image, Tensor):
        if image.ndim != 3 or image.shape[0] not in (1, 3):
            raise ReadoutError(f"{name} is a tensor of shape {tuple(image.shape)}; pass (1 or 3, height, width).")
        values = image.detach().cpu().permute(1, 2, 0)
        return from_array((values.float() if values.is_floating_point() else values).numpy(), name)
    raise ReadoutError(f"{name} is a {type(image).__name__}; pass PIL images, paths, arrays or tensors.")
