import re

import pytest

from readout.common.errors import ReadoutError
from readout.external.true import matched

SUFFIXES = {".png", ".jpeg"}


def fitting(files: list[str], names: list[str]) -> dict[str, str]:
    return matched({name: name for name in files}, names, "true", "image", SUFFIXES)


@pytest.mark.parametrize(
    ("files", "names", "expected"),
    [
        (["cat.png", "dog.png"], ["cat"], {"cat": "cat.png"}),
        (["cat.png"], ["cat.png"], {"cat.png": "cat.png"}),
        (["cat.png"], ["cat.JPEG"], {"cat.JPEG": "cat.png"}),
        (["cat.png", "cat.jpeg"], ["cat.png", "cat.jpeg"], {"cat.png": "cat.png", "cat.jpeg": "cat.jpeg"}),
        (["cat.png"], ["cat.png", "cat.jpeg"], {"cat.png": "cat.png"}),
        (["cat.png"], ["S1/cat", "S2/cat"], {"S1/cat": "cat.png", "S2/cat": "cat.png"}),
        (["S1/cat.png", "S2/cat.png"], ["S2/cat", "S1/cat.png"], {"S2/cat": "S2/cat.png", "S1/cat.png": "S1/cat.png"}),
        (["v1.2.png", "v1.png"], ["v1.2"], {"v1.2": "v1.2.png"}),
        (["cat"], ["cat"], {"cat": "cat"}),
    ],
)
def test_files_are_called_as_features_with_a_suffix_or_without(
    files: list[str], names: list[str], expected: dict[str, str]
) -> None:
    assert fitting(files, names) == expected


@pytest.mark.parametrize(
    ("files", "names", "words"),
    [
        (["cat.png", "cat.jpeg"], ["cat"], "Two images in 'true' are named 'cat' (cat.png, cat.jpeg)"),
        (["S1/cat.png", "S2/cat.png"], ["cat"], "(S1/cat.png, S2/cat.png); keep one of them"),
        (["dog.png"], ["cat.png"], "so give images such as cat.png."),
        (["dog.png"], ["S1/cat"], "so give images such as cat.png."),
    ],
)
def test_names_that_none_or_two_fit(files: list[str], names: list[str], words: str) -> None:
    with pytest.raises(ReadoutError, match=re.escape(words)):
        fitting(files, names)
