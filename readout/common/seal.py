"""Seals: a SHA-256 inside each file that is read back, so that no flipped bit and no cut passes for a result."""

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO

DIGITS = 64

UNSEALED = f"sha256 of all but these digits: {'0' * DIGITS}"
"""What a writer puts near the beginning or the end of a file, wherever its format takes text."""

COMMENT = f"# {UNSEALED}\n"
"""The same as the first line of a text, where a cut at its end can't remove it."""

_SEAL = re.compile(UNSEALED.rstrip("0").encode() + rb"([0-9a-f]{%d})" % DIGITS)

_REACH = 1 << 20
"""How far from either end a seal is looked for, in bytes; also how much is read at a time."""


def seal(path: Path) -> None:
    """Put the digest of a file into its seal, if it has one."""
    with path.open("r+b") as file:
        place = _place(file)
        if place is not None:
            digest = _digest(file, place)
            file.seek(place)
            file.write(digest)


def is_damaged(path: Path) -> bool:
    """Whether a file has changed since it was sealed; files of older versions have no seal and never count as damaged.

    Raises:
        OSError: if it can't be read.
    """
    with path.open("rb") as file:
        place = _place(file)
        if place is None:
            return False
        found = _digest(file, place)
        file.seek(place)
        return file.read(DIGITS) != found


def _place(file: BinaryIO) -> int | None:
    """Where the digits of a seal begin."""
    size = file.seek(0, os.SEEK_END)
    for start in (0, max(0, size - _REACH)):
        file.seek(start)
        if found := _SEAL.search(file.read(_REACH)):
            return start + found.start(1)
    return None


def _digest(file: BinaryIO, place: int) -> bytes:
    """Hexadecimal digest of all but the digits at a place."""
    sha = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(min(_REACH, place - file.tell())):
        sha.update(chunk)
    file.seek(place + DIGITS)
    while chunk := file.read(_REACH):
        sha.update(chunk)
    return sha.hexdigest().encode()
