"""What the documentation tells its readers to write and to run.

Conventions for fenced blocks: ``python exec`` runs as it stands; ``title="FILE"`` is a file that the reader is told to
write; every line of a ``bash`` block without a title is a command.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [page for page in (*sorted(DOCS.rglob("*.md")), ROOT / "README.md") if page.is_file()]
PROGRAM = "python -m readout.cli"
FENCE = re.compile(r"^```(?P<language>\w+)?[ \t]*(?P<rest>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


class Fence(NamedTuple):
    """A fenced block of a page."""

    page: str
    language: str
    rest: str
    body: str

    @property
    def title(self) -> str | None:
        """Name of the file that the block is to be written to."""
        match = re.search(r'title="([^"]+)"', self.rest)
        return match[1] if match else None

    @property
    def commands(self) -> Iterator[str]:
        """Lines of a shell block; continued ones are one."""
        if self.language == "bash" and not self.title:
            lines = (line.strip() for line in self.body.replace("\\\n", " ").splitlines())
            yield from (line for line in lines if line and not line.startswith("#"))


FENCES = [
    Fence(page.relative_to(ROOT).as_posix(), match["language"] or "", match["rest"], match["body"])
    for page in PAGES
    for match in FENCE.finditer(page.read_text(encoding="utf-8"))
]
COMMANDS = list(
    dict.fromkeys((fence.page, line) for fence in FENCES for line in fence.commands if line.startswith(PROGRAM))
)


def arguments(command: str) -> list[str]:
    """What follows the program's name."""
    return shlex.split(command.removeprefix(PROGRAM), comments=True)
