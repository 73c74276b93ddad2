from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from readout.common.errors import ReadoutError
from readout.external.collect import Found
from readout.external.files import Stored
from readout.external.shapes import Features, as_features

SHAPE = (8, 4, 6)
SIZE = 8 * 4 * 6
VALUES = np.random.default_rng(0).random((3, *SHAPE)).astype(np.float32)


def features(values: NDArray[Any], shape: tuple[int, ...] = SHAPE, **more: Any) -> Features:
    return as_features([Found("'conv' of 'f.npz'", "conv", "f", values, **more)], {"conv": shape}, "Net", (3, 16, 24))


@pytest.mark.parametrize("values", [VALUES[0], VALUES[:1], VALUES[0].reshape(1, SIZE), VALUES[0].flatten()])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_one_feature_whole_or_flattened(values: NDArray[Any], kind: Any) -> None:
    found = features(values.astype(kind))
    assert list(found) == ["f"]
    torch.testing.assert_close(found["f"]["conv"], torch.from_numpy(VALUES[0]))


@pytest.mark.parametrize("values", [VALUES, VALUES.reshape(3, SIZE), VALUES[:, None]])
def test_several_as_rows(values: NDArray[Any]) -> None:
    found = features(values)
    assert list(found) == ["f_000", "f_001", "f_002"]
    torch.testing.assert_close(found["f_002"]["conv"], torch.from_numpy(VALUES[2]))
    assert list(features(values, names=["a", "b", "c"])) == ["a", "b", "c"]


def test_a_column_of_matlab_is_one_feature() -> None:
    found = features(VALUES[0].reshape(SIZE, 1))
    torch.testing.assert_close(found["f"]["conv"], torch.from_numpy(VALUES[0]))


def poisoned() -> NDArray[Any]:
    values = VALUES.copy()
    values[1, 0, 0, :2] = np.nan
    return values


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (VALUES[0, :7], r"has shape 7 × 4 × 6, but conv of Net gives 8 × 4 × 6 for inputs of 3 × 16 × 24"),
        (VALUES.transpose(0, 2, 3, 1), r"save `array.transpose\(0, 3, 1, 2\)`"),
        (VALUES[0].transpose(1, 2, 0), r"save `array.transpose\(2, 0, 1\)`"),
        (np.ones((8, 12, 12)), "Try --size 72"),
        (poisoned(), r"2 of 192 values in 'conv' of 'f.npz' \(f_001\) are NaN"),
        (np.ones((0, *SHAPE)), "is empty"),
        (np.ones(SHAPE), "same value everywhere"),
        (VALUES[0].astype(complex), "complex128 values"),
        (VALUES[0].astype(str), "not real numbers"),
    ],
)
def test_what_does_not_fit_is_explained(values: NDArray[Any], words: str) -> None:
    with pytest.raises(ReadoutError, match=words):
        features(values)


def test_names_must_be_as_many_as_features_and_differ() -> None:
    with pytest.raises(ReadoutError, match="3 features, but its file names 2"):
        features(VALUES, names=["a", "b"])
    with pytest.raises(ReadoutError, match="named 'a'"):
        features(VALUES, names=["a", "b", "a"])


@pytest.mark.parametrize(("early", "late"), [(1, 2), (2, 3)])
def test_layers_have_as_many_rows(early: int, late: int) -> None:
    found = [Found("a", "conv", "f", VALUES[:early]), Found("b", "fc", "f", np.arange(5.0 * late).reshape(late, 5))]
    with pytest.raises(ReadoutError, match=rf"'f' differ in their number of rows \({early} in conv, {late} in fc\)"):
        as_features(found, {"conv": SHAPE, "fc": (5,)}, "Net", (3, 16, 24))


def test_every_feature_has_every_layer() -> None:
    one = Found("a", "conv", "cat", VALUES[0])
    other = Found("b", "fc", "dog", np.arange(5.0))
    with pytest.raises(ReadoutError, match="'cat' has no feature of fc"):
        as_features([one, other], {"conv": SHAPE, "fc": (5,)}, "Net", (3, 16, 24))


def test_what_does_not_fit_its_layer_is_never_read() -> None:
    def read() -> NDArray[Any]:
        raise AssertionError("read")

    huge = Stored("'conv' of 'f.npz'", (2**20, 2**12), np.dtype(np.float32), read)
    with pytest.raises(ReadoutError, match="has shape 1048576 × 4096, but conv of Net gives"):
        features(huge)  # type: ignore[arg-type]
