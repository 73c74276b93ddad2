"""Graceful shutdown on Ctrl-C and on the signals that clusters send before they end a job."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
"""Ctrl-C; the end of a cluster job; a closed terminal; the warnings of Slurm and Grid Engine before the end."""

KEPT = "what is finished is kept, and the same command goes on from there."

STDOUT, STDERR = 1, 2
SHOW_CURSOR = b"\x1b[?25h"

Handlers = dict[int, Any]


class Stopped(BaseException):
    """A requested stop, with a sentence that says how to go on.

    This is not a ``KeyboardInterrupt``, because Lightning turns those into an exit.
    """


class Terminated(SystemExit):
    """An exit with code 128 + the signal's number, after a graceful shutdown."""

    def __init__(self, number: int, sentence: str) -> None:
        super().__init__(128 + number)
        self.sentence = sentence


class Stop:
    """A request to stop: the first signal is noted, the second one stops at once."""

    def __init__(self) -> None:
        self.asked: int | None = None
        """Number of the first signal; None without one."""

    def listen(self) -> None:
        """Handle :data:`SIGNALS`, except those that this process was started to ignore."""
        set_handlers(dict.fromkeys(handlers(), self._ask))

    def check(self, where: str = "Stopped between two batches") -> None:
        """Stop if that was requested.

        Args:
            where: Beginning of the sentence.

        Raises:
            Stopped: if a stop was requested.
        """
        if self.asked is not None:
            raise Stopped(f"{where}; {KEPT}")

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            raise Stopped(f"Stopped at once; {KEPT}")
        self.asked = number
        with suppress(OSError):  # bypasses Python's streams: a signal handler can't write to one in use
            os.write(STDERR, b"\nStopping after this step; interrupt again to stop at once.\n")


def handlers() -> Handlers:
    """Return the current handlers of :data:`SIGNALS` that are not ignored; none outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    present = {number: signal.getsignal(number) for number in SIGNALS}
    return {number: handler for number, handler in present.items() if handler is not signal.SIG_IGN}


def set_handlers(wanted: Handlers) -> None:
    """Install handlers, in the form that :func:`handlers` returns."""
    for number, handler in wanted.items():
        signal.signal(number, handler)


def leave_on_signals() -> None:
    """Let signals outside :func:`stoppable` end the process with a sentence and exit code 128 + the signal's number.

    No exception is raised, because imports, parsers and destructors swallow exceptions or print tracebacks. Nothing
    needs cleaning up, because files are written whole or not at all.
    """
    set_handlers(dict.fromkeys(handlers(), _leave))


def _leave(number: int, frame: FrameType | None) -> None:
    with suppress(Exception):  # the stream may be in the middle of a write
        sys.stdout.flush()
    with suppress(OSError):
        if os.isatty(STDOUT):  # a live display hides the cursor
            os.write(STDOUT, SHOW_CURSOR)
        os.write(STDERR, f"\nStopped; {KEPT}\n".encode())
    os._exit(128 + number)


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Let signals inside the context request a graceful stop; restore the handlers on exit.

    Raises:
        KeyboardInterrupt: in place of :class:`Stopped`, after Ctrl-C.
        Terminated: in place of :class:`Stopped`, after another signal.
    """
    stop, before = Stop(), handlers()
    stop.listen()
    try:
        yield stop
        stop.check()
    except (Stopped, SystemExit) as stopped:
        if isinstance(stopped, SystemExit) and stop.asked is None:
            raise
        # between setup and first step, Lightning turns a signal into an exit
        sentence = str(stopped) if isinstance(stopped, Stopped) else f"Stopped; {KEPT}"
        if stop.asked is None or stop.asked == signal.SIGINT:
            raise KeyboardInterrupt(sentence) from None
        raise Terminated(stop.asked, sentence) from None
    finally:
        set_handlers(before)
