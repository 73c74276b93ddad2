"""Seals: a SHA-256 digest inside each file that is read back, which reveals flipped bits and truncation."""

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO

DIGITS = 64

UNSEALED = f"sha256 of all but these digits: {'0' * DIGITS}"
"""Placeholder that a writer puts near the beginning or end of a file, wherever its format takes text."""

COMMENT = f"# {UNSEALED}\n"
"""Placeholder as the first line of a text file, where truncation can't remove it."""

_SEAL = re.compile(UNSEALED.rstrip("0").encode() + rb"([0-9a-f]{%d})" % DIGITS)

_REACH = 1 << 20
"""Bytes at either end that are searched for a seal; also the chunk size for reading."""


def seal(path: Path) -> None:
    """Replace the placeholder in a file, if any, by the file's digest."""
    with path.open("r+b") as file:
        place = _place(file)
        if place is not None:
            digest = _digest(file, place)
            file.seek(place)
            file.write(digest)


def is_damaged(path: Path) -> bool:
    """Return whether a file has changed since it was sealed; False without a seal, as in files of older versions.

    Raises:
        OSError: if the file can't be read.

    Examples:
        >>> path = Path("keys.txt")
        >>> _ = path.write_text(f"{COMMENT}abc")
        >>> seal(path)
        >>> is_damaged(path)
        False
        >>> _ = path.write_text(path.read_text().replace("abc", "abd"))
        >>> is_damaged(path)
        True
    """
    with path.open("rb") as file:
        place = _place(file)
        if place is None:
            return False
        found = _digest(file, place)
        file.seek(place)
        return file.read(DIGITS) != found


def _place(file: BinaryIO) -> int | None:
    """Return the offset of a seal's digits, if there is a seal."""
    size = file.seek(0, os.SEEK_END)
    for start in (0, max(0, size - _REACH)):
        file.seek(start)
        if found := _SEAL.search(file.read(_REACH)):
            return start + found.start(1)
    return None


def _digest(file: BinaryIO, place: int) -> bytes:
    """Return the hexadecimal digest of everything but the digits at ``place``."""
    sha = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(min(_REACH, place - file.tell())):
        sha.update(chunk)
    file.seek(place + DIGITS)
    while chunk := file.read(_REACH):
        sha.update(chunk)
    return sha.hexdigest().encode()
