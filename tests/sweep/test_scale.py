"""What a sweep reads back while it runs does not grow with what it has stored."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import bookkeeping
from readout.problems.search import Search
from readout.store import ResultStore, results
from readout.sweep.loop import Loop


@pytest.mark.parametrize("search", ["grid", "bisection"])
def test_a_sweep_reads_nothing_back_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search: Search
) -> None:
    read: list[str] = []

    def counted(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            read.append(name)
            return function(*arguments, **keywords)

        monkeypatch.setattr(owner, name, wrapped)

    for function in ("read_part", "read_contents", "read_file"):
        counted(results, function)
    counted(ResultStore, "load")
    counted(Loop, "run")
    driver = bookkeeping.make_driver(tmp_path, 60, search)
    with driver.working():
        plan = driver.plan(bookkeeping.QUIET)
    assert read == ["load"]
    batches = bookkeeping.run(driver, plan)["batches"]
    layers = len(driver.problems)
    assert batches >= 3 * layers
    assert read[:2] == ["load", "run"]
    # once all is stored: every layer's part is indexed, and loaded, once
    assert sorted(read[2:]) == ["load", *["read_contents"] * layers, *["read_part"] * layers]
    assert len([*driver.store.results.glob("*.parquet")]) == layers
