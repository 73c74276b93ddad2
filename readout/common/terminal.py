"""Terminal output that works in any encoding and prints names literally."""

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 120
"""Width in columns where there is no terminal: in a file, a pipe or a cluster's log."""


def print_anywhere() -> None:
    """Print a question mark for characters that a terminal or log can't show, instead of a UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def make_console() -> "Console":
    """Return a console for the terminal, or for plain lines of a fixed width without one."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def say(console: "Console", text: str) -> None:
    """Print a line literally: names in it may contain ``[x]`` or ``:x:``, rich's markup and emoji."""
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def say_where(console: "Console", page: Path) -> None:
    """Print the path of the report."""
    from rich.text import Text

    console.print(Text.assemble(("report", "bold"), f" {page}"))
