"""Pictures and texts of inputs, for viewing."""

import math
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.common.files import write_whole
from readout.data.images import is_image, read_image, write_png
from readout.data.samples import values_digest
from readout.problems.names import forget_listings, own_path, safe_name

DIGEST = "digest"
"""Keyword of a PNG text with the digest of the pictured tensor."""


def write_readable(folder: Path, row: dict[str, Any], recovered: Tensor) -> None:
    """Write a recovered input as a picture or text, if it is either and not there already.

    Args:
        folder: The folder ``recovered/``.
        row: The problem's row.
        recovered: What was recovered.

    Raises:
        ReadoutError: if the disk is full or the folder can't be written.
    """
    if is_image(recovered):
        write_picture(readable_path(folder, row, "png"), recovered)
    elif isinstance(row.get("recovered_text"), str):
        true = f"true:      {row['true_text']}\n" if isinstance(row["true_text"], str) else ""
        path, text = readable_path(folder, row, "txt"), f"{true}recovered: {row['recovered_text']}\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_whole(path, lambda file: file.write_text(text, encoding="utf-8"))
            forget_listings()


def write_picture(path: Path, image: Tensor) -> None:
    """Write an image as PNG, unless the file holds that very picture.

    Args:
        path: Path of the picture.
        image: Values in [0, 1], shape (channels, height, width).

    Raises:
        ReadoutError: if the disk is full or the folder can't be written.
    """
    digest = values_digest(image)
    if pictured_digest(path) != digest:
        text = PngInfo()
        text.add_text(DIGEST, digest)
        write_whole(path, lambda file: write_png(image, file, text))
        forget_listings()


def pictured_digest(path: Path) -> str | None:
    """Return the digest of what a file pictures; None if it is missing or damaged."""
    try:
        return _verified(path)
    except Exception:  # a damaged file may raise anything
        return None


def read_picture(path: Path) -> Tensor:
    """Read a picture of a true input.

    Raises:
        ReadoutError: if it can't be read.
    """
    try:
        _verified(path)
        return read_image(path)
    except Exception as error:  # a damaged file may raise anything
        raise ReadoutError(
            f"{str(path)!r} can't be read; run the same command again, which rewrites it, or delete it."
        ) from error


def readable_path(folder: Path, row: dict[str, Any], suffix: str) -> Path:
    """Return the path of a recovered input as a picture or text; names that differ only in case have own files."""
    layer = own_path(folder, row["layer"])
    if math.isnan(row["level"]):
        return own_path(layer, row["sample"], f".{suffix}")
    return own_path(layer, row["sample"]) / f"{_variant(row)}.{suffix}"


def readable_name(row: dict[str, Any], suffix: str) -> str:
    """Return the path of a recovered picture or text inside ``recovered/``."""
    name = f"{safe_name(row['layer'])}/{safe_name(row['sample'])}"
    return f"{name}.{suffix}" if math.isnan(row["level"]) else f"{name}/{_variant(row)}.{suffix}"


def _variant(row: dict[str, Any]) -> str:
    reading = f"_reading={row['reading']}" if row.get("reading") else ""
    return f"level={row['level']}_draw={row['draw']}{reading}"


def _verified(path: Path) -> str | None:
    """Return the digest in a picture whose checksums hold, which PIL ignores when it reads pixels."""
    with Image.open(path) as picture:
        picture.verify()
        return picture.info.get(DIGEST)
