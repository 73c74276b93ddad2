"""What all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Networks here are so small that threads would mostly wait for each other; PyTorch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from readout.analysis.report import write_report
from readout.sweep import sweep


@pytest.fixture(scope="session", autouse=True)
def no_reports_of_sweeps() -> Iterator[None]:
    """Leave out a sweep's own report, which takes longer than its inversions here."""

    def without_report(folder: Path, *_: object, **__: object) -> Path:
        return folder / "report.html"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "write_report", without_report)
        yield


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps write their reports."""
    monkeypatch.setattr(sweep, "write_report", write_report)
