"""Claims: one process works on an output folder at a time."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from readout.common.errors import ReadoutError

try:
    import fcntl
except ImportError:  # Windows: a second process is not refused; results computed twice count once
    fcntl = None  # type: ignore[assignment]

FILE = "claim"
"""File in the folder of checkpoints."""


@contextmanager
def claimed(path: Path) -> Iterator[str]:
    """Hold a lock on a file inside the context.

    The system drops the lock of a process that ends, however it ends, so no claim is ever stale.

    Args:
        path: Lock file; created if missing, and removed at the end with the folders that were created for it, if they
            are empty.

    Yields:
        Text of the file, different for every claim, by which another process can tell that it sees the same folder.
        Empty if nothing can be written there.

    Raises:
        ReadoutError: if another process holds the lock.
    """
    text = f"process {os.getpid()} on {socket.gethostname()} {secrets.token_hex(8)}"
    try:
        created = [folder for folder in path.parents if not folder.exists()]
        file = _locked(path)
    except OSError:  # writing results will fail with the reason
        yield ""
        return
    with file:
        try:
            file.truncate(0)
            file.write(text)
            file.flush()
            yield text
        finally:
            path.unlink(missing_ok=True)
            for folder in created:  # deepest first; those in use stay
                with suppress(OSError):
                    folder.rmdir()


def is_seen(path: Path, text: str) -> bool:
    """Return whether this process sees the claim that another one holds.

    Args:
        path: Lock file.
        text: From :func:`claimed`.
    """
    with suppress(OSError):
        return not text or path.read_text(encoding="utf-8") == text
    return not text


def _locked(path: Path) -> TextIO:
    """Open a file and lock it; again, if the process before has removed it between the two."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            file = opened.enter_context(path.open("a+", encoding="utf-8"))
            _lock(file.fileno(), path)
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                    opened.pop_all()
                    return file


def _lock(number: int, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        by = path.read_text(encoding="utf-8").rpartition(" ")[0] or "another process"
        raise ReadoutError(
            f"{str(path.parents[1])!r} is in use by {by}; wait until it ends, or choose another output. To use "
            "several devices or machines, add --sweep.executor Ray to one command."
        ) from None
    except OSError:  # a file system without locks: as on Windows
        return
