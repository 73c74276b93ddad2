"""What the tests of pages share."""

from pathlib import Path

import pytest

from tests.analysis.chromium import Look


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Look at a page in Chromium."""
    return Look(tmp_path / "profile")
