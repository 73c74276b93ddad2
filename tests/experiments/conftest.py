from pathlib import Path

import pytest

from readout import sweep


@pytest.fixture(autouse=True)
def no_reports_of_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep's own report takes longer than its inversions here, and has tests of its own."""
    monkeypatch.setattr(sweep, "write_report", lambda folder, results, sizes: Path(folder) / "report.html")
