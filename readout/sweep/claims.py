"""Claims: processes that share an output folder take layers in turn."""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console

from readout.common.signals import Stop
from readout.common.terminal import say
from readout.sweep.plan import LayerPlan

try:
    import fcntl
except ImportError:  # Windows: layers are not shared out; results computed twice count once
    fcntl = None  # type: ignore[assignment]

WAIT_SECONDS = 2.0


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Hold a lock on a file inside the context.

    The system drops the lock of a process that ends, however it ends, so no claim is ever stale.

    Args:
        path: Lock file; created if missing.

    Yields:
        Whether this process holds the lock.
    """
    if fcntl is None:
        yield True
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except FileNotFoundError:  # another process has just removed the folder; try again
        yield False
        return
    except OSError:  # writing results will fail with the reason
        yield True
        return
    with file:
        held = _lock(file, path)
        try:
            yield held
        finally:
            if held:
                path.unlink(missing_ok=True)


def _lock(file: TextIO, path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: as on Windows
        return True
    # the previous owner may have removed the file since it was opened here
    return path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino


def in_turn(
    layers: Iterable[LayerPlan], claims: Path, stop: Stop, console: Console
) -> Generator[LayerPlan, None, None]:
    """Yield each layer while this process holds its claim, unclaimed layers first.

    Close the iterator (``contextlib.closing``) to release the current claim.

    Args:
        layers: Layers to work on.
        claims: Folder of the claims.
        stop: Ends the waiting for other processes when a stop is requested.
        console: Prints once which layers are waited for.

    Yields:
        A layer; nothing may be left of it if another process had it before.
    """
    left, told = list(layers), False
    while left:
        others: list[LayerPlan] = []
        for plan in left:
            with claim(claims / f"{plan.name}.claim") as mine:
                if mine:
                    yield plan
                else:
                    others.append(plan)
        if others and not told and len(others) == len(left):
            told = True
            say(console, f"waiting for another process, which works on {_names(others)}")
        if len(others) == len(left):
            stop.wait(WAIT_SECONDS)
        left = others


def _names(plans: Sequence[LayerPlan]) -> str:
    return ", ".join(plan.layer for plan in plans)
