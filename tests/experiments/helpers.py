"""Driving an experiment as its user does."""

import functools
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

from readout.store import ResultStore
from readout.sweep import jobs
from tests.helpers import read_table

LEARN = importlib.import_module("readout.learning.learn")
"""The module: the package's attribute of that name is the function."""


def run(main: Callable[[Sequence[str]], None], output: Path) -> pd.DataFrame:
    """Run an experiment at its smallest, see that everything is there, and return its table."""
    few = functools.partial(_with_few_resamples, stats.bootstrap)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "bootstrap", few)
        patch.setattr(LEARN, "write", lambda *_: None)  # a dictionary's page takes longer than to learn it
        main(["--scale", "smoke", "--output", str(output)])
    name = main.__module__.rpartition(".")[2]
    for kind in ("png", "svg"):
        assert (output / "figures" / f"{name}.{kind}").stat().st_size > 5_000
    sentences = (output / "result.txt").read_text(encoding="utf-8").strip()
    assert sentences.endswith(".")
    assert "nan" not in sentences
    return read_table(output / f"{name}.csv")


def _with_few_resamples(bootstrap: Callable[..., Any], *groups: Any, **options: Any) -> Any:
    """Bootstrap with few resamples: intervals at the smoke scale mean nothing, and take longer than its inversions."""
    return bootstrap(*groups, **{**options, "n_resamples": 99})


def run_again(
    main: Callable[[Sequence[str]], None],
    output: Path,
    before: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    ignoring: Sequence[str] = (),
) -> None:
    """Run it a second time: nothing is inverted or learnt, and the table is the same but for the columns to ignore."""

    def refuse(*_: Any) -> None:
        raise AssertionError("inverted or learnt again")

    monkeypatch.setattr(jobs, "read", refuse)
    monkeypatch.setattr(LEARN, "run_training", refuse)
    monkeypatch.setattr(ResultStore, "write_figure", lambda *_: None)  # it would draw the same once more
    after = run(main, output)
    pd.testing.assert_frame_equal(after.drop(columns=list(ignoring)), before.drop(columns=list(ignoring)))
