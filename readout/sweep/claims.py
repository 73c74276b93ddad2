"""Who works on a layer: processes that share an output folder leave each other's layers alone."""

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
except ImportError:  # Windows; work is then not shared out, and what is done twice counts once
    fcntl = None  # type: ignore[assignment]

WAIT_SECONDS = 2.0


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Claim what a file stands for, for as long as this process is inside.

    The system drops the claim of a process that ends, however it ends. Nobody has to be asked whether the file that is
    left behind still means anything.

    Args:
        path: A file; made if need be.

    Yields:
        False if another process has it.
    """
    if fcntl is None:
        yield True
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except FileNotFoundError:  # another process has just tidied up; ask again
        yield False
        return
    except OSError:  # whoever writes results will say why
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
    except OSError:  # a file system without such locks: as on Windows
        return True
    # whoever had it may have removed it since it was opened here
    return path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino


def in_turn(
    layers: Iterable[LayerPlan], claims: Path, stop: Stop, console: Console
) -> Generator[LayerPlan, None, None]:
    """Each layer once this process has it to itself; first those that no other process works on.

    Close the iterator (``contextlib.closing``) to give back what is claimed.

    Args:
        layers: What there is to do.
        claims: Folder of the claims.
        stop: Is asked while there is nothing but to wait.
        console: Told once what is waited for.

    Yields:
        A layer. Of one that another process had before there may be nothing left to do.
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
