import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from readout.checks import LARGEST_SEED, check_number, check_seed, check_whole
from readout.errors import ReadoutError

ODD: list[Any] = [math.nan, math.inf, -math.inf, 10**400, True, "word", "1e-3", None, [1], np.array([1.0]), np.bool_(1)]
"""What is no number wherever one is wanted."""


@pytest.mark.parametrize("value", ODD)
def test_what_is_no_finite_number_is_refused(value: Any) -> None:
    for check in (check_number, check_whole, check_seed):
        with pytest.raises(ReadoutError, match=r"^t is .*; give a (whole )?number.*\.$"):
            check("t", value)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2), torch.tensor(2.0), Fraction(2)])
def test_numbers_of_any_library_are_numbers(value: Any) -> None:
    assert check_number("t", value) == 2
    whole = check_whole("t", value)
    assert whole == 2
    assert type(whole) is int


def test_a_number_stays_of_its_kind() -> None:
    # an argument of 1 that came back as 1.0 would have another digest
    assert type(check_number("t", 1)) is int
    assert type(check_number("t", 1.0)) is float


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (0, {"above": 0}, "t is 0; give a number above 0."),
        (1.0, {"low": 0, "below": 1}, "t is 1; give a number of at least 0 and below 1."),
        (-1, {"low": 0, "high": 1}, "t is -1; give a number from 0 to 1."),
        (3, {"high": 2, "hint": ", or null"}, "t is 3; give a number of at most 2, or null."),
    ],
)
def test_bounds_are_kept_and_named(value: float, bounds: dict[str, Any], words: str) -> None:
    with pytest.raises(ReadoutError) as refused:
        check_number("t", value, **bounds)
    assert str(refused.value) == words


def test_whole_numbers_and_seeds() -> None:
    assert check_whole("count", 1, 1, 1) == 1
    with pytest.raises(ReadoutError, match=r"count is 1.5; give a whole number of at least 1\."):
        check_whole("count", 1.5, 1)
    assert check_seed("seed", LARGEST_SEED) == LARGEST_SEED
    for seed in (-1, LARGEST_SEED + 1, 1e20):
        with pytest.raises(ReadoutError, match=r"seed is .*; give a whole number from 0 to 4294967295\."):
            check_seed("seed", seed)
