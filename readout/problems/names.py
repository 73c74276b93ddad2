"""File names: for samples and layers whatever they are called, and for damaged files."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from readout.common.errors import ReadoutError
from readout.common.files import explained
from readout.problems.identity import digest


def safe_name(name: str) -> str:
    """Return a file name for a sample or layer; different names never share a file.

    Examples:
        >>> safe_name("conv1_1"), safe_name("n01440764/img 1")
        ('conv1_1', 'n01440764_img_1-cae21117')
    """
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", name).strip(".")[:100]
    looks_made = re.search(r"-[0-9a-f]{8}$", name) is not None
    return safe if safe == name and not looks_made else f"{safe}-{digest(name)[:8]}"


def own_path(folder: Path, name: str, suffix: str = "") -> Path:
    """Return the path of a sample or layer in a folder.

    Names that differ only in case have different files, because a file system may not tell them apart: the first one
    gets the plain name.
    """
    plain = safe_name(name)
    with_digest = folder / f"{plain}-{digest(name)[:8]}{suffix}"
    alike = _by_folded_case(folder, _modified(folder)).get(f"{plain}{suffix}".casefold(), set()) - {f"{plain}{suffix}"}
    return with_digest if alike or with_digest.exists() else folder / f"{plain}{suffix}"


def forget_listings() -> None:
    """List folders anew: two files may be made within one tick of a folder's clock."""
    _by_folded_case.cache_clear()


def set_aside(path: Path, then: str) -> str:
    """Rename a damaged file, and return a sentence that says so.

    Args:
        path: The file.
        then: Consequence, for the sentence.
    """
    with explained(path, OSError), suppress(FileNotFoundError):  # another process was faster
        path.replace(path.with_name(f"{path.name}.broken"))
    return f"{path} is damaged; it is now {path.name}.broken, and {then}"


def set_aside_if_damaged(path: Path, read: Callable[[Path], object], then: str) -> list[str]:
    """Rename a file that ``read`` refuses with a :class:`ReadoutError`; return the sentences to print."""
    try:
        read(path)
    except ReadoutError:
        return [set_aside(path, then)]
    return []


@lru_cache(maxsize=64)
def _by_folded_case(folder: Path, modified: int) -> dict[str, set[str]]:
    """Group the names in a folder by their case-folded form; ``modified`` keys the cache."""
    found: dict[str, set[str]] = {}
    for name in os.listdir(folder) if modified else ():
        found.setdefault(name.casefold(), set()).add(name)
    return found


def _modified(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
