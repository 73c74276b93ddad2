import io
import sys

import pytest
from rich.console import Console

from readout.common.terminal import make_console, print_anywhere, say


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_what_an_encoding_can_not_show_is_replaced(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    print_anywhere()
    print("3 × 4, d_X → \udce9")
    make_console().print("✓ 猫 ─")
    sys.stdout.flush()
    shown = written.getvalue().decode(encoding)
    assert "d_X" in shown
    assert "?" in shown
    assert ("×" in shown) == (encoding != "ascii")


@pytest.mark.parametrize("name", ["[x]", "[/]", "[bold]a[/bold]", ":cat:", r"\[a]"])
def test_a_name_is_printed_as_it_is(name: str) -> None:
    console = Console(file=io.StringIO(), width=10)
    say(console, f"a layer is called {name}")
    assert console.file.getvalue() == f"a layer is called {name}\n"  # type: ignore[attr-defined]
