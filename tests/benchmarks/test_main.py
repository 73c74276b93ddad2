import json
from pathlib import Path

import pytest

from benchmarks.__main__ import SUITES, main
from benchmarks.table import Table


def test_one_command_prints_a_table_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bdpy.py").write_text("raise ImportError(name='bdpy')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    target = tmp_path / "found.json"
    small = ["--layers", "conv1_1", "--sizes", "32", "--rounds", "1", "--seconds", "0", "--weights", "random"]
    main(["--only", "speed", "size", "--json", str(target), "--threads", "1", *small])
    written = json.loads(target.read_text())
    assert written["machine"]["threads"] == 1
    assert written["machine"]["torch"] in capsys.readouterr().out
    speed, size = written["tables"]["speed"], written["tables"]["size"]
    assert [row["side"] for row in speed["rows"]] == ["ours, 32-true", "ours, 32-true", "ours, bf16-mixed"]
    assert all(row["ms"] > 0 and row["layer"] == "conv1_1" for row in speed["rows"])
    # without its peer the one table still has our side, and the other says why it is empty
    assert any("bdpy is not installed" in note for note in speed["notes"])
    assert size["rows"] == []
    assert "bdpy is not installed" in size["notes"][0]


def test_every_suite_says_what_it_measures() -> None:
    assert all(suite.__doc__ for suite in SUITES.values())


def test_a_table_prints_numbers_ranges_and_gaps(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    table = Table("Title")
    table.add(side="a", ms=1234.5, quartiles=(1.0, 2.0))
    table.add(side="b", ms=0.01234, problems=1000)
    table.note("Said once.")
    table.note("Said once.")
    table.show(Console(width=100))
    printed = capsys.readouterr().out
    for text in ("Title", "1,23", "0.0123", "1,000", "1 – 2"):
        assert text in printed
    assert printed.count("Said once.") == 1
