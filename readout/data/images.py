"""Reading, converting, resizing and writing images."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torch.nn import functional as F

from readout.common.checks import check_side
from readout.common.errors import ReadoutError, reason

NOT_RASTER = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow decodes by other programs, or whose values have no defined white; not read."""

SIGNED = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "TIFF", "WEBP")
"""Formats recognised reliably by their first bytes."""

UNREAD_KEYS = {"L;2", "L;4", "RGB;16B"}
"""Raw modes of PNG for which Pillow compares the transparent colour with values of another bit depth."""

ROUNDING = 1e-3
"""Distance outside [0, 1] at which floating-point values are still accepted."""


@cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the supported formats."""
    Image.init()
    return tuple(name for name in Image.ID if name not in NOT_RASTER)


@cache
def suffixes() -> frozenset[str]:
    """Return the suffixes of the supported formats, in lower case."""
    known = Image.registered_extensions().items()
    return frozenset({".mpo", *(suffix for suffix, name in known if name in formats())})


def is_readable_format(path: Path) -> bool:
    """Return whether a file starts like one of the common image formats."""
    try:
        with Image.open(path, formats=SIGNED):
            return True
    except Exception:  # decoders may raise anything
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

    EXIF orientation is applied and transparency composited on white. 16-bit greys are divided by their white; floats
    must lie in [0, 1]. Of several frames, the current one is converted. Colour profiles are not applied.

    Args:
        picture: The image, loaded or not.
        called: Name of the image in error sentences.

    Raises:
        ReadoutError: if the image is damaged, or its values have no defined white.
    """
    with _explained(called):
        transparent = _is_transparent(picture)
        if transparent and any(_raw_mode(tile) in UNREAD_KEYS for tile in getattr(picture, "tile", ())):
            raise ReadoutError(
                f"{called} has a transparent colour at a bit depth that Pillow does not support; save it with an alpha "
                "channel."
            )
        if picture.mode[0] in "IF":
            return _deep_grey(picture, called)
        picture = _upright(picture)
        if picture.mode == "La":  # Pillow converts it to LA only
            picture = picture.convert("LA")
        if transparent:
            picture = picture.convert("RGBA")
            rgba = np.asarray(picture)
            if rgba[..., 3].min() < 255:
                return from_array(rgba, called)
        return from_array(np.asarray(picture.convert("RGB")), called)


def from_array(array: NDArray[Any], called: str = "The image") -> Tensor:
    """Convert an array to RGB float in [0, 1], shape (3, height, width), compositing alpha on white.

    Args:
        array: Grey, RGB or RGBA image, shape (height, width) or (height, width, channels), of uint8, uint16, bool, or
            floats in [0, 1].
        called: Name of the image in error sentences.

    Raises:
        ReadoutError: if the array has another shape or type, or floats are NaN or outside [0, 1].

    Examples:
        >>> grey = np.array([[0, 255], [51, 102]], dtype=np.uint8)
        >>> from_array(grey)[0]
        tensor([[0.0000, 1.0000],
                [0.2000, 0.4000]])
    """
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3, 4) or 0 in array.shape:
        raise ReadoutError(
            f"{called} has shape {array.shape}; pass (height, width) or (height, width, channels), with 1, 3 or 4 "
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
    """Return whether a tensor has the shape of an RGB or grey image."""
    return x.ndim == 3 and x.shape[0] in (1, 3)


def resize_and_crop(image: Tensor, size: int) -> Tensor:
    """Resize the shorter side to ``size`` pixels (antialiased bilinear) and crop the central square.

    Raises:
        ReadoutError: if ``size`` is not a valid image size.
    """
    size = check_side("size", size)
    height, width = image.shape[-2:]
    scale = size / min(height, width)
    shape = (max(size, round(height * scale)), max(size, round(width * scale)))
    resized = F.interpolate(image.unsqueeze(0), size=shape, mode="bilinear", antialias=True, align_corners=False)
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    return resized[0, :, top : top + size, left : left + size].clamp(0, 1)


def write_png(image: Tensor, path: Path, text: PngInfo | None = None) -> None:
    """Write an image with values in [0, 1], shape (channels, height, width), and texts with it."""
    Image.fromarray(to_pixels(image)).save(path, format="PNG", pnginfo=text)


def to_pixels(image: Tensor) -> NDArray[np.uint8]:
    """Convert an image with values in [0, 1] to uint8 of shape (height, width, 3); clip values outside."""
    array = image.detach().float().cpu().nan_to_num(0).clamp(0, 1).mul(255).round().to(torch.uint8)
    return array.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()


@contextmanager
def _explained(called: str) -> Iterator[None]:
    """Turn Pillow's exceptions on a damaged image into an error sentence."""
    try:
        yield
    except ReadoutError:
        raise
    except Exception as error:  # decoders may raise anything, struct.error and KeyError included
        uninformative = isinstance(error, UnidentifiedImageError | FileNotFoundError)
        why = "" if uninformative else f" ({reason(error)})"
        raise ReadoutError(f"{called} can't be read as an image{why}; replace or remove it.") from error


def _is_transparent(picture: Image.Image) -> bool:
    """Return whether pixels may be transparent, by an alpha channel, a key colour or a palette."""
    palette = getattr(picture.palette, "mode", "")
    return picture.mode[-1] in "Aa" or "transparency" in picture.info or palette.endswith("A")


def _raw_mode(tile: Any) -> Any:
    """Return the raw mode of a tile that is not decoded yet."""
    args = tile[3]
    return args[0] if isinstance(args, tuple) and args else args


def _upright(picture: Image.Image) -> Image.Image:
    """Load an image and apply its EXIF orientation."""
    picture.load()
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # unparsable EXIF data, which some cameras and editors write
        return picture


def _deep_grey(picture: Image.Image, called: str) -> Tensor:
    """Convert a grey image of more than 8 bits."""
    tags = getattr(picture, "tag_v2", {})  # TIFF only
    white = _white(picture, tags, called)
    values: NDArray[Any] = np.asarray(_upright(picture))
    grey: NDArray[Any] = _scaled(values, called) if white == 1 else values.astype(np.float32) / np.float32(white)
    if tags.get(262) == 0:  # WhiteIsZero, which Pillow honours only up to 8 bits
        grey = 1 - grey
    if "transparency" in picture.info:
        grey[values == picture.info["transparency"]] = 1
    return from_array(grey, called)


def _white(picture: Image.Image, tags: Any, called: str) -> int:
    """Return the value of white in a grey image of more than 8 bits."""
    if picture.mode == "F":
        return 1
    if picture.mode.startswith("I;16"):
        (bits,) = tags.get(258, (16,))  # BitsPerSample; Pillow does not rescale 12-bit values
        return int(2**bits - 1)
    if picture.format in ("PNG", "PPM"):  # 16-bit values in Pillow's 32-bit mode
        return 65535
    raise ReadoutError(f"{called} has 32-bit greys, whose white is not defined; save it with 8 or 16 bits.")


def _scaled(array: NDArray[Any], called: str) -> NDArray[np.float32]:
    """Scale values to [0, 1]."""
    if array.dtype in (np.uint16, bool):
        return array.astype(np.float32) / np.float32(65535 if array.dtype == np.uint16 else 1)
    if array.dtype.kind != "f":
        raise ReadoutError(f"{called} has {array.dtype} values; pass uint8, uint16, or floats in [0, 1].")
    low, high = array.min(), array.max()
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise ReadoutError(
            f"{called} has floating-point values from {low:.4g} to {high:.4g}; scale them to [0, 1], or save 8 or 16 "
            "bits per channel."
        )
    return np.array(array, dtype=np.float32)
