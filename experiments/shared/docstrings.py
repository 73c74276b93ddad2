"""Prose without a download: docstrings of the standard library."""

import ast
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from readout.common.files import write_whole
from readout.data import TextFiles

LEAST = 250
"""Characters."""


def docstrings(folder: Path, max_tokens: int, limit: int) -> TextFiles:
    """Write long docstrings without examples to a file, one per line, and return texts from it.

    Args:
        folder: Where the file goes.
        max_tokens: Tokens per text.
        limit: Number of texts.
    """
    path = folder / "docstrings.txt"
    if not path.exists():
        lines = "\n".join(sorted({" ".join(text.split()) for text in _found()}))
        write_whole(path, lambda file: file.write_text(lines, encoding="utf-8"))
    return TextFiles(str(path), per_line=True, max_tokens=max_tokens, min_tokens=None, limit=limit)


def _found() -> Iterator[str]:
    root = Path(sysconfig.get_path("stdlib"))
    named = [root / name for name in sorted(sys.stdlib_module_names)]
    files = [file for path in named for file in (sorted(path.rglob("*.py")) if path.is_dir() else [Path(f"{path}.py")])]
    for file in files:
        if file.is_file() and not {"test", "tests"} & {*file.parts}:
            for node in ast.walk(ast.parse(file.read_bytes())):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    text = ast.get_docstring(node) or ""
                    if len(text) >= LEAST and ">>>" not in text:
                        yield text
