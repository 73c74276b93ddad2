"""Files that are written whole or not at all."""

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

from readout.common.errors import ReadoutError
from readout.common.seal import is_damaged, seal

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

STALE_SECONDS = 24 * 3600
"""Age of an unfinished file that nobody can still be writing, where a file system has no locks."""

YOUNG_SECONDS = 2
"""Age up to which it stays even without a lock, which is lost where a library makes the file anew."""

SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini"}
"""What Windows leaves in folders, in lower case; other systems leave hidden files."""


def write_whole(path: Path, write: Callable[[Path], Any]) -> Path:
    """Write a file under a temporary name beside ``path``, seal it, then rename it.

    Args:
        path: Where it is to be; missing folders are made.
        write: Writes a file at the path it is given; its :data:`readout.common.seal.UNSEALED`, if any, becomes a seal.

    Raises:
        ReadoutError: if the disk is full or the path can't be written.
    """
    unfinished = unfinished_name(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _locked(unfinished):
                write(unfinished)
                seal(unfinished)
                with unfinished.open("rb+") as file:
                    os.fsync(file.fileno())
                unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


def read_whole(path: Path, advice: str) -> str:
    """Read a text that was written whole.

    Args:
        path: Where it is.
        advice: What to do if it can't be used.

    Raises:
        ReadoutError: if it has changed since it was sealed, or can't be read.
    """
    try:
        if not is_damaged(path):
            return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReadoutError(f"{str(path)!r} can't be read; {advice}.") from error
    raise ReadoutError(f"{str(path)!r} was changed since it was written, by hand or by damage; {advice}.")


def unfinished_name(path: Path) -> Path:
    """A name that no other process uses, beside the path: process ids are shared between containers."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes have left half-written; what a live one writes is locked, and stays."""
    for path in folder.rglob(".*.partial"):
        with suppress(OSError):
            if _is_abandoned(path):
                path.unlink()


def _is_abandoned(path: Path) -> bool:
    age = time.time() - path.stat().st_mtime
    if fcntl is not None:
        with path.open("rb+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return age > YOUNG_SECONDS
            except BlockingIOError:
                return False
            except OSError:  # a file system without locks
                pass
    return age > STALE_SECONDS


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Make a file, and hold its lock."""
    if fcntl is None:
        yield
        return
    with path.open("xb") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def write_first(path: Path, text: str) -> str:
    """Write a text file unless it is there.

    Args:
        path: Where it is to be; missing folders are made.
        text: What to write.

    Returns:
        What it holds, whoever wrote it: of several processes, the first.

    Raises:
        ReadoutError: if the disk is full or the path can't be written.
    """
    while not path.exists():
        own = unfinished_name(path)
        write_whole(own, lambda file: file.write_text(text, encoding="utf-8"))
        with suppress(FileExistsError, FileNotFoundError):  # another process was first, or tidied up
            os.link(own, path)
        own.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8", errors="replace")


def user_path(path: str | Path) -> Path:
    """A path as the user wrote it, ``~`` expanded; of a user that is not known, ``~NAME`` stays."""
    return Path(os.path.expanduser(path))


@contextmanager
def explained(path: Path, kinds: type[Exception] = Exception) -> Iterator[None]:
    """Say in one sentence why a path can't be written.

    Args:
        path: What is written.
        kinds: Errors that the system may be behind; libraries wrap its own in theirs.

    Raises:
        ReadoutError: if the disk is full or the path can't be written.
    """
    try:
        yield
    except ReadoutError:
        raise
    except kinds as error:
        reason = _system_error(error)
        if reason is None:
            raise
        full = getattr(reason, "errno", None) == errno.ENOSPC or "No space left" in str(reason)
        problem = "the disk is full" if full else f"it can't be written ({reason})"
        raise ReadoutError(
            f"{str(path)!r}: {problem}; make room or choose another output folder, then run the same command "
            "again: what is finished is kept."
        ) from error


@contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Say in one sentence why an output folder can't be looked into.

    Raises:
        ReadoutError: if the system refuses.
    """
    try:
        yield
    except OSError as error:
        raise ReadoutError(
            f"{str(folder)!r} can't be read ({error.strerror or error}); choose another output folder, or ask for the "
            "right to read and write this one."
        ) from error


def _system_error(error: BaseException | None) -> BaseException | None:
    """What the system had against it; libraries wrap that in errors of their own, or trip over it."""
    while error is not None:
        if isinstance(error, OSError) or "os error" in str(error):
            return error
        error = error.__cause__ or error.__context__
    return None


def as_text(path: PurePath | str) -> str:
    """A path as text that any file or terminal takes: bytes of a name that are not UTF-8 are escaped."""
    text = path if isinstance(path, str) else path.as_posix()
    return text.encode("utf-8", "backslashreplace").decode()


def find_files(root: Path, wanted: Callable[[Path], bool], kind: str) -> list[Path]:
    """List the files in a folder and below that are wanted; print how many others are left out.

    Args:
        root: The folder. Hidden files and folders in it, and what systems leave there, are ignored.
        wanted: Whether a file is.
        kind: What messages call those that are.
    """
    visible = [
        path
        for path in sorted(root.rglob("*"))
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.name.lower() not in SYSTEM_FILES and path.is_file()
    ]
    found = [path for path in visible if wanted(path)]
    if left_out := {*visible} - {*found}:
        kinds = sorted({as_text(path.suffix.lower()) or "no suffix" for path in left_out})
        listed = ", ".join(kinds[:8]) + (", …" if len(kinds) > 8 else "")
        print(f"left out of {as_text(root)}: {len(left_out)} files that are not {kind} ({listed})")
    return found
