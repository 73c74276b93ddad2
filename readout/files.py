"""Files that are written whole or not at all."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from readout.errors import ReadoutError
from readout.seal import is_damaged, seal


def write_whole(path: Path, write: Callable[[Path], Any]) -> Path:
    """Write a file under a temporary name beside ``path``, seal it, then rename it.

    Args:
        path: Where it is to be; missing folders are made.
        write: Writes a file at the path it is given; its :data:`readout.seal.UNSEALED`, if any, becomes a seal.

    Raises:
        ReadoutError: if the disk is full or the path can't be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
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
    if not path.exists():
        own = path.with_name(f"{path.name}.{os.getpid()}")
        write_whole(own, lambda file: file.write_text(text, encoding="utf-8"))
        try:
            os.link(own, path)
        except FileExistsError:
            pass
        finally:
            own.unlink()
    return path.read_text(encoding="utf-8", errors="replace")


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
