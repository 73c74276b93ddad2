"""Stopping on request: Ctrl-C and the signals that clusters send before they end a job."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
"""Ctrl-C; the end of a cluster job; a closed terminal; the warnings that Slurm and Grid Engine send before the end."""

KEPT = "what is finished is kept, and the same command goes on from there."

POLL_SECONDS = 0.2
STDOUT, STDERR = 1, 2
SHOW_CURSOR = b"\x1b[?25h"

Handlers = dict[int, Any]


class Stopped(BaseException):
    """Whoever runs this process has asked it to stop; says in one sentence how to go on.

    It is no ``KeyboardInterrupt``, because Lightning makes an exit of those.
    """


class Terminated(SystemExit):
    """The exit that a signal other than Ctrl-C asks for, once everything is in order."""

    def __init__(self, number: int, sentence: str) -> None:
        super().__init__(128 + number)
        self.sentence = sentence


class Stop:
    """A wish to stop: noted the first time it is uttered, carried out at once the second time."""

    def __init__(self) -> None:
        self.asked: int | None = None
        """Number of the signal."""

    def listen(self) -> None:
        """Answer to :data:`SIGNALS`, but for those that this process was started to ignore."""
        set_handlers(dict.fromkeys(handlers(), self._ask))

    def check(self, where: str = "Stopped between two batches") -> None:
        """Stop if that was asked for.

        Args:
            where: How the sentence begins.

        Raises:
            Stopped: if it was.
        """
        if self.asked is not None:
            raise Stopped(f"{where}; {KEPT}")

    def wait(self, seconds: float) -> None:
        """Wait, unless asked to stop.

        Raises:
            Stopped: if it was.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.check("Stopped while waiting")
            time.sleep(POLL_SECONDS)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            raise Stopped(f"Stopped at once; {KEPT}")
        self.asked = number
        with suppress(OSError):  # Python's own streams can't be written to from here: they may be in use
            os.write(STDERR, b"\nStopping after this step; once more stops at once.\n")


def handlers() -> Handlers:
    """Present handlers of :data:`SIGNALS`, without those that are ignored; none outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    present = {number: signal.getsignal(number) for number in SIGNALS}
    return {number: handler for number, handler in present.items() if handler is not signal.SIG_IGN}


def set_handlers(wanted: Handlers) -> None:
    """Install handlers, as :func:`handlers` gives them."""
    for number, handler in wanted.items():
        signal.signal(number, handler)


def leave_on_signals() -> None:
    """End the process with a sentence and 128 + the signal's number, at any moment outside :func:`stoppable`.

    No exception is raised: imports, parsers and destructors swallow those, or turn them into tracebacks. Files are
    written whole or not at all, so nothing has to be put in order first.
    """
    set_handlers(dict.fromkeys(handlers(), _leave))


def _leave(number: int, frame: FrameType | None) -> None:
    with suppress(Exception):  # it may be in the middle of a write
        sys.stdout.flush()
    with suppress(OSError):
        if os.isatty(STDOUT):  # a live display had hidden it
            os.write(STDOUT, SHOW_CURSOR)
        os.write(STDERR, f"\nStopped; {KEPT}\n".encode())
    os._exit(128 + number)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Inside, signals are wishes to stop; outside, they are what they were.

    Raises:
        KeyboardInterrupt: instead of :class:`Stopped`, after Ctrl-C.
        Terminated: instead of it, after another signal.
    """
    stop, before = Stop(), handlers()
    stop.listen()
    try:
        yield stop
        stop.check()
    except (Stopped, SystemExit) as stopped:
        if isinstance(stopped, SystemExit) and stop.asked is None:
            raise
        # between its setup and its first step Lightning makes an exit of a signal
        sentence = str(stopped) if isinstance(stopped, Stopped) else f"Stopped; {KEPT}"
        if stop.asked is None or stop.asked == signal.SIGINT:
            raise KeyboardInterrupt(sentence) from None
        raise Terminated(stop.asked, sentence) from None
    finally:
        set_handlers(before)
