"""Reading images and bringing them to one size."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from readout.checks import check_side
from readout.errors import ReadoutError


def read_image(path: Path) -> Tensor:
    """An image file as RGB float in [0, 1], shape (3, height, width).

    Raises:
        ReadoutError: if the file can't be read as an image.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I;16"):  # PIL would cut 16-bit greys off at 255
                grey = torch.from_numpy(np.asarray(image).astype(np.float32) / 65535)
                return grey.expand(3, -1, -1).contiguous()
            return from_array(np.asarray(image.convert("RGB")))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise ReadoutError(
            f"{str(path)!r} can't be read as an image; replace it, or take it out of the folder."
        ) from error


def is_image(x: Tensor) -> bool:
    """Whether a tensor has the shape of an RGB or grey image."""
    return x.ndim == 3 and x.shape[0] in (1, 3)


def from_array(array: NDArray[np.uint8]) -> Tensor:
    """RGB bytes (height, width, 3) to floats in [0, 1], shape (3, height, width)."""
    return torch.from_numpy(np.array(array)).permute(2, 0, 1).float() / 255


def resize_and_crop(image: Tensor, size: int) -> Tensor:
    """Shorter side to ``size`` pixels (antialiased bilinear), then the central square.

    Raises:
        ReadoutError: if ``size`` is no size of an image.
    """
    size = check_side("size", size)
    height, width = image.shape[-2:]
    scale = size / min(height, width)
    shape = (max(size, round(height * scale)), max(size, round(width * scale)))
    resized = F.interpolate(image.unsqueeze(0), size=shape, mode="bilinear", antialias=True, align_corners=False)
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    return resized[0, :, top : top + size, left : left + size].clamp(0, 1)


def write_png(image: Tensor, path: Path) -> None:
    """Write an image with values in [0, 1], shape (channels, height, width)."""
    Image.fromarray(to_pixels(image)).save(path, format="PNG")


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """Bytes of shape (height, width, 3) from an image with values in [0, 1]; values outside are clipped."""
    array = image.detach().float().cpu().nan_to_num(0).clamp(0, 1).mul(255).round().to(torch.uint8)
    return array.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
