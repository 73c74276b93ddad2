import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.__main__ import SUITES, main
from benchmarks.suites import scale, workers
from benchmarks.suites.size import agreement
from benchmarks.table import Table
from readout.store import judge


@pytest.mark.slow
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
    assert "bdpy is not installed" in target.with_suffix(".md").read_text()


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
    assert table.markdown().splitlines() == [
        "### Title",
        "",
        "| side | ms | quartiles | problems |",
        "|---|--:|---|--:|",
        "| a | 1,234 | 1 – 2 |  |",
        "| b | 0.0123 |  | 1,000 |",
        "",
        "Said once.",
    ]


def test_agreement_is_exact_for_the_same_answers_and_tells_what_differs() -> None:
    rows = [
        {"layer": "l", "sample": "a", "level": level, "distance": distance, "best_distance": distance / 2}
        for level, distance in ((0.0, 0.01), (0.3, 0.05), (0.5, 0.15), (0.7, 0.4))
    ]
    shared: dict[str, Any] = {"model": "m", "weights": "w", "prior": "p", "protocol": "paper", "draw": 0}
    shared |= {"setting": "s", "loss": 1.0, "floor": 1.0, "scale": 1.0, "tolerance": 0.0, "dead": False}
    shared |= {"feature_dim": 8, "input_dim": 4, "readout": "r", "weights_digest": "0", "metric": "ssim"}
    known = judge(pd.DataFrame(rows).assign(**shared), 0.1)
    known["feature_distance"] = known["level"]
    same = agreement(known, known)
    assert same["problems"] == 4
    assert same["verdicts, as the paper's end"] == same["within half a step"] == "100%"
    assert same["sizes − the end's"] == [0.0]
    assert same["Spearman of d_X"] == pytest.approx(1)
    # of half the distances, 0.075 at 0.5 is recovered too: the line through (0.5, 0.075) and (0.7, 0.2) crosses at 0.54
    assert same["sizes − the best iterate's"] == [pytest.approx(0.4 - 0.54, abs=0.006)]
    other = agreement(judge(known.assign(distance=known["best_distance"], protocol="fast"), 0.1), known)
    assert other["recovered or not, as the paper's end"] == "75%"
    assert other["sizes − the best iterate's"] == [0.0]
    assert other["within half a step"] == "0%"


@pytest.mark.slow
def test_every_step_of_the_bookkeeping_is_measured(tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    main(["--only", "scale", "--quick", "--json", str(target)])
    rows = json.loads(target.read_text())["tables"]["scale"]["rows"]
    assert [row["step"] for row in rows] == ["plan", "batches, grid", "batches, bisection", *scale.STEPS]
    assert {row["problems"] for row in rows} == {16 * 11 * 5}
    assert all(row["seconds"] > 0 and row["peak MiB"] > 100 for row in rows)
    assert 0.1 < rows[-1]["page MB"] < 10


@pytest.mark.slow
def test_coders_reach_the_objective_of_scikit_learn(tmp_path: Path) -> None:
    target = tmp_path / "found.json"
    main(["--only", "codes", "--quick", "--json", str(target), "--threads", "1", "--rounds", "1", "--seconds", "0"])
    rows = json.loads(target.read_text())["tables"]["codes"]["rows"]
    assert all(row["ms"] > 0 for row in rows)
    objectives = {row["coder"]: row["objective"] for row in rows}
    least = objectives["scikit-learn, lasso_cd"]
    assert objectives["ours, FISTA, 100 iterations"] == pytest.approx(least, rel=1e-4)
    chosen = objectives["scikit-learn, orthogonal_mp"], objectives["ours, OrthogonalMatchingPursuit"]
    assert chosen[0] == pytest.approx(chosen[1], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("count", "driver", "seconds"), [(1, 0.0, 40.0), (2, 0.0, 20.0), (2, 30.0, 130.0), (9, 0.0, 10.0)]
)
def test_a_simulated_sweep_waits_for_workers_or_for_the_driver(count: int, driver: float, seconds: float) -> None:
    four = workers.Sweep("four batches of 10 s", 4, 64, steps=10, step_seconds=1.0, batch=1, levels=1, layers=1)
    took, busy = workers.simulate(four, count, driver)
    assert (took, busy) == (seconds, 4 * driver / seconds)
