"""Where commands print."""

from rich.console import Console

PLAIN_WIDTH = 120
"""Columns where no terminal says how wide it is (a file, a pipe, a cluster's log)."""


def make_console() -> Console:
    """The terminal, or plain lines of a fixed width."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)
