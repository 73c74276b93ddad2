from pathlib import Path

import pytest

from readout.analysis.outputs import short_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/runs/a"], ["a"]),
        (["/runs/a", "/runs/b"], ["a", "b"]),
        (["/dip/out", "/pixels/out"], ["dip/out", "pixels/out"]),
        (["/x/dip/out", "/y/dip/out", "/y/pixels/out"], ["x/dip/out", "y/dip/out", "y/pixels/out"]),
    ],
)
def test_names_are_as_short_as_tells_them_apart(paths: list[str], names: list[str]) -> None:
    assert short_names([Path(path) for path in paths]) == names
