"""Reading images and bringing them to one size."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional as F

from readout.common.checks import check_side
from readout.common.errors import ReadoutError, reason

NOT_RASTER = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow hands to other programs, or whose values have no known white."""

SIGNED = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP")
"""Formats whose first bytes tell them from anything else."""

UNREAD_KEYS = {"L;2", "L;4", "RGB;16B"}
"""Raw modes of PNG whose transparent colour Pillow compares with values of another depth."""

ROUNDING = 1e-3
"""How far outside [0, 1] floating-point values may lie."""


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read."""
    Image.init()
    return tuple(name for name in Image.ID if name not in NOT_RASTER)


@cache
def suffixes() -> frozenset[str]:
    """Suffixes of image files, in lower case."""
    known = Image.registered_extensions().items()
    return frozenset({".mpo", *(suffix for suffix, name in known if name in formats())})


def is_readable_format(path: Path) -> bool:
    """Whether a file begins as one of the common image formats."""
    try:
        with Image.open(path, formats=SIGNED):
            return True
    except Exception:  # see _explained
        return False


def read_image(path: Path) -> Tensor:
    """Read an image file as RGB float in [0, 1], shape (3, height, width); see :func:`from_picture`.

    Raises:
        ReadoutError: if the file can't be read as an image.
    """
    called = repr(str(path))
    with _explained(called), Image.open(path, formats=formats()) as picture:
        return from_picture(picture, called)


def from_picture(picture: Image.Image, called: str) -> Tensor:
    """Convert a PIL image of any mode to RGB float in [0, 1], shape (3, height, width).

    The orientation in its EXIF data is applied. Transparent pixels are composited on white. Greys of 16 bits are
    divided by their white; floats must lie in [0, 1]. Of several frames, the one that ``picture`` is at is taken.
    Colour profiles are not applied.

    Args:
        picture: May not be loaded yet.
        called: How messages call it.

    Raises:
        ReadoutError: if the image is damaged, or its values have no known white.
    """
    with _explained(called):
        transparent = _is_transparent(picture)
        if transparent and any(_raw_mode(tile) in UNREAD_KEYS for tile in getattr(picture, "tile", ())):
            raise ReadoutError(
                f"{called} marks a colour as transparent in a bit depth that Pillow does not read; save it with an "
                "alpha channel."
            )
        if picture.mode[0] in "IF":
            return _deep_grey(picture, called)
        picture = _upright(picture)
        if picture.mode == "La":  # which turns into nothing else
            picture = picture.convert("LA")
        if transparent:
            picture = picture.convert("RGBA")
            rgba = np.asarray(picture)
            if rgba[..., 3].min() < 255:
                return from_array(rgba, called)
        return from_array(np.asarray(picture.convert("RGB")), called)


def from_array(array: NDArray[Any], called: str = "The image") -> Tensor:
    """Convert an array to RGB float in [0, 1], shape (3, height, width); alpha is composited on white.

    Args:
        array: Shape (height, width) or (height, width, channels), with 1 channel, 3 or 4: grey, RGB or RGBA. Type
            uint8, uint16 or bool, or floats in [0, 1].
        called: How messages call it.

    Raises:
        ReadoutError: if the array is of another shape or type, or floats are NaN or outside [0, 1].
    """
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or 0 in array.shape:
        raise ReadoutError(
            f"{called} has shape {array.shape}; give (height, width) or (height, width, channels), with 1, 3 or 4 "
            "channels."
        )
    if array.dtype == np.uint8:
        values = torch.from_numpy(np.array(array)).permute(2, 0, 1).float() / 255
    else:
        values = torch.from_numpy(_scaled(array, called)).permute(2, 0, 1)
    if len(values) == 1:
        return values.expand(3, -1, -1).contiguous()
    if len(values) == 3:
        return values
    alpha = values[3:]
    return values[:3] * alpha + (1 - alpha)


def is_image(x: Tensor) -> bool:
    """Whether a tensor has the shape of an RGB or grey image."""
    return x.ndim == 3 and x.shape[0] in (1, 3)


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


@contextmanager
def _explained(called: str) -> Iterator[None]:
    """Turn whatever Pillow raises on a damaged image into one sentence."""
    try:
        yield
    except ReadoutError:
        raise
    except Exception as error:  # decoders raise what they like, struct.error and KeyError included
        unsaid = isinstance(error, UnidentifiedImageError | FileNotFoundError)
        why = "" if unsaid else f" ({reason(error)})"
        raise ReadoutError(
            f"{called} can't be read as an image{why}; replace it, or take it out of the folder."
        ) from error


def _is_transparent(picture: Image.Image) -> bool:
    """Whether pixels may be transparent: by an alpha channel, a key colour or a palette."""
    palette = getattr(picture.palette, "mode", "")
    return picture.mode[-1] in "Aa" or "transparency" in picture.info or palette.endswith("A")


def _raw_mode(tile: Any) -> Any:
    """The raw mode of a part that is not decoded yet."""
    args = tile[3]
    return args[0] if isinstance(args, tuple) and args else args


def _upright(picture: Image.Image) -> Image.Image:
    """Load an image and apply its EXIF orientation."""
    picture.load()
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # EXIF data that can't be parsed give no orientation; cameras and editors leave such
        return picture


def _deep_grey(picture: Image.Image, called: str) -> Tensor:
    """A grey image of more than 8 bits."""
    tags = getattr(picture, "tag_v2", {})  # TIFF's
    white = _white(picture, tags, called)
    values: NDArray[Any] = np.asarray(_upright(picture))
    grey: NDArray[Any] = _scaled(values, called) if white == 1 else values.astype(np.float32) / np.float32(white)
    if tags.get(262) == 0:  # WhiteIsZero, which Pillow heeds up to 8 bits
        grey = 1 - grey
    if "transparency" in picture.info:
        grey[values == picture.info["transparency"]] = 1
    return from_array(grey, called)


def _white(picture: Image.Image, tags: Any, called: str) -> int:
    """The value that means white in a grey image of more than 8 bits."""
    if picture.mode == "F":
        return 1
    if picture.mode.startswith("I;16"):
        (bits,) = tags.get(258, (16,))  # BitsPerSample; 12 is stored as it is
        return int(2**bits - 1)
    if picture.format in ("PNG", "PPM"):  # 16 bits in the next larger mode
        return 65535
    raise ReadoutError(f"{called} has 32-bit greys, whose white is not known; save it with 8 or 16 bits.")


def _scaled(array: NDArray[Any], called: str) -> NDArray[np.float32]:
    """Values in [0, 1]."""
    if array.dtype in (np.uint16, bool):
        return array.astype(np.float32) / np.float32(65535 if array.dtype == np.uint16 else 1)
    if array.dtype.kind != "f":
        raise ReadoutError(f"{called} holds {array.dtype} values; give uint8, uint16, or floats in [0, 1].")
    low, high = array.min(), array.max()
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise ReadoutError(
            f"{called} has floating-point values from {low:.4g} to {high:.4g}; scale them to [0, 1], or save 8 or 16 "
            "bits."
        )
    return np.array(array, dtype=np.float32)
