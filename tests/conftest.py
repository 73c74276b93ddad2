"""What all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Networks here are so small that threads would mostly wait for each other; PyTorch reads this when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from readout.analysis.report import write_report
from readout.sweep import probe, sweep


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Call slow whatever needs real weights or Chromium."""
    for item in items:
        if item.get_closest_marker("real_weights") or "look" in item.fixturenames:
            item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def brief_sweeps() -> Iterator[None]:
    """Leave out what takes longer than inversions here: the report of a sweep, and timing steps until that is sure."""

    def without_report(folder: Path, *_: object, **__: object) -> Path:
        return folder / "report.html"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "write_report", without_report)
        patch.setattr(probe._StepTimer, "enough_seconds", 0.0)
        yield


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sweeps write their reports."""
    monkeypatch.setattr(sweep, "write_report", write_report)
