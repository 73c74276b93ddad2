"""Atomic writes, reads with a check of the seal, and file search."""

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
"""Age from which an unfinished file counts as abandoned, where the file system has no locks."""

YOUNG_SECONDS = 2
"""Age up to which an unlocked file stays too: a library that recreates the file drops the lock."""

SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini"}
"""Files that Windows leaves in folders, in lower case; other systems leave hidden ones."""


def write_whole(path: Path, write: Callable[[Path], Any]) -> Path:
    """Write a file under a temporary name beside ``path``, seal it, then rename it.

    Args:
        path: Final path; missing folders are created.
        write: Writes a file at a given path; :data:`readout.common.seal.UNSEALED` in it becomes a seal.

    Raises:
        ReadoutError: if the disk is full or the path can't be written.

    Examples:
        >>> write_whole(Path("runs/note.txt"), lambda file: file.write_text("done")).read_text()
        'done'
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
    """Read a text file and check its seal.

    Args:
        path: The file.
        advice: What the user should do if the file can't be used; ends the error sentence.

    Raises:
        ReadoutError: if the file has changed since it was sealed, or can't be read.
    """
    try:
        if not is_damaged(path):
            return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReadoutError(f"{str(path)!r} can't be read; {advice}.") from error
    raise ReadoutError(f"{str(path)!r} was changed since it was written, by hand or by damage; {advice}.")


def unfinished_name(path: Path) -> Path:
    """Return a random name beside the path; process ids would not be unique across containers."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files of killed processes; live processes hold locks on theirs."""
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
    """Create a file and lock it inside the context."""
    if fcntl is None:
        yield
        return
    with path.open("xb") as file:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def write_first(path: Path, text: str) -> str:
    """Write a text file unless it exists; the first of several processes wins.

    Args:
        path: Final path; missing folders are created.
        text: Content to write.

    Returns:
        Content of the file, whoever wrote it.

    Raises:
        ReadoutError: if the disk is full or the path can't be written.
    """
    while not path.exists():
        own = unfinished_name(path)
        write_whole(own, lambda file: file.write_text(text, encoding="utf-8"))
        with suppress(FileExistsError, FileNotFoundError):  # another process was first, or cleaned up
            os.link(own, path)
        own.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8", errors="replace")


def user_path(path: str | Path) -> Path:
    """Expand ``~`` in a user's path; ``~NAME`` of an unknown user stays, where ``Path.expanduser`` raises."""
    return Path(os.path.expanduser(path))


@contextmanager
def explained(path: Path, kinds: type[Exception] = Exception) -> Iterator[None]:
    """Turn system errors while writing a path into one sentence.

    Args:
        path: The file or folder written.
        kinds: Exceptions to search for a system error behind them; libraries wrap it in their own.

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
    """Turn system errors while reading an output folder into one sentence.

    Raises:
        ReadoutError: if the folder can't be read.
    """
    try:
        yield
    except OSError as error:
        raise ReadoutError(
            f"{str(folder)!r} can't be read ({error.strerror or error}); choose another output folder, or get "
            "permission to read and write this one."
        ) from error


def _system_error(error: BaseException | None) -> BaseException | None:
    """Return the system error behind an exception, if any; libraries wrap it or fail while handling it."""
    while error is not None:
        if isinstance(error, OSError) or "os error" in str(error):
            return error
        error = error.__cause__ or error.__context__
    return None


def as_text(path: PurePath | str) -> str:
    """Return a path as valid text, with bytes that are not UTF-8 escaped."""
    text = path if isinstance(path, str) else path.as_posix()
    return text.encode("utf-8", "backslashreplace").decode()


def find_files(root: Path, wanted: Callable[[Path], bool], kind: str) -> list[Path]:
    """List the wanted files below a folder; print how many others are left out.

    Args:
        root: The folder. Hidden files and folders, and files that operating systems leave, are ignored.
        wanted: Returns whether a file is wanted.
        kind: Name of the wanted files, for the message.

    Examples:
        >>> root = write_whole(Path("texts/a.txt"), lambda file: file.write_text("a")).parent
        >>> find_files(root, lambda path: path.suffix == ".npz", "features (.npz)")
        left out of texts: 1 file that is not features (.npz) (.txt)
        []
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
        files = "1 file that is" if len(left_out) == 1 else f"{len(left_out)} files that are"
        print(f"left out of {as_text(root)}: {files} not {kind} ({listed})")
    return found
