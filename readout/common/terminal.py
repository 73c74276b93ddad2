"""What commands print: in any encoding, and names as they are, whatever characters they hold."""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 120
"""Columns where no terminal says how wide it is (a file, a pipe, a cluster's log)."""


def print_anywhere() -> None:
    """Print a question mark for what a terminal or log can't show, in place of a UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def make_console() -> "Console":
    """The terminal, or plain lines of a fixed width."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def say(console: "Console", text: str) -> None:
    """Print a line that may hold names: rich would take ``[x]`` in one for markup and ``:x:`` for an emoji."""
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def say_where(console: "Console", page: Path) -> None:
    """Print where the report is."""
    from rich.text import Text

    console.print(Text.assemble(("report", "bold"), f" {page}"))
