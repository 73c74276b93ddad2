"""Stopping on request: Ctrl-C and the signals that clusters send before they end a job."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C; what clusters send at the end of a job; what Slurm is often told to send some time before."""

KEPT = "what is finished is kept, and the same command goes on from there."

POLL_SECONDS = 0.2
STDERR = 2


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

    def listen(self) -> dict[int, Any]:
        """Answer to :data:`SIGNALS`, but for those that this process was started to ignore.

        Returns:
            Handlers that did so before.
        """
        if threading.current_thread() is not threading.main_thread():
            return {}
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        return {number: signal.signal(number, self._ask) for number in heard}

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


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Inside, signals are wishes to stop; outside, they are what they were.

    Raises:
        KeyboardInterrupt: instead of :class:`Stopped`, after Ctrl-C.
        Terminated: instead of it, after another signal.
    """
    stop = Stop()
    before = stop.listen()
    try:
        yield stop
    except Stopped as stopped:
        if stop.asked is None or stop.asked == signal.SIGINT:
            raise KeyboardInterrupt(str(stopped)) from None
        raise Terminated(stop.asked, str(stopped)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
