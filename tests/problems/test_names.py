from hypothesis import given
from hypothesis import strategies as st

from readout.problems.names import safe_name

NAMES = ["cat", "Cat.png", "a b", "a_b", "a/b", "a\\b", "a__b", "a..b", ".", "..", "../b", ".a", "a.", "猫", "犬", "é"]
NAMES += [" ", "\n", "a:b", "a*b", "-", "--", "_", "a b ", "n01440764/img 1.JPEG", "n01440764_img_1.JPEG"]


def test_awkward_names_give_different_files_inside_the_folder() -> None:
    files = [safe_name(name) for name in NAMES]
    assert len(set(files)) == len(NAMES)
    assert all("/" not in file and file not in (".", "..") for file in files)


@given(names=st.lists(st.text(), unique=True, max_size=10))
def test_different_names_give_different_files(names: list[str]) -> None:
    assert len({safe_name(name) for name in names}) == len(names)


def test_a_name_that_looks_like_the_file_of_another_has_a_file_of_its_own() -> None:
    assert safe_name(safe_name("a b")) != safe_name("a b")


def test_simple_names_stay_as_they_are() -> None:
    for name in ("conv1_1", "blocks.9", "noise_000", "cat.png", "depth-0.25"):
        assert safe_name(name) == name
