import pytest
import torch

from readout.common.errors import ReadoutError
from readout.data import Digits, load_samples
from tests.tiny import Identity


def test_all_digits_are_there_with_their_classes() -> None:
    digits = Digits()
    assert digits.images().shape == (1797, 1, 8, 8)
    assert digits.images().min() == 0
    assert digits.images().max() == 1
    # scikit-learn's first ten are 0 to 9
    assert [digits[place].label for place in range(10)] == [str(place) for place in range(10)]
    assert digits.labels()[:10].tolist() == list(range(10))
    assert digits.labels().bincount().min() > 170


def test_chosen_ones_keep_their_names() -> None:
    chosen = Digits([5, 1700])
    assert [sample.name for sample in chosen] == ["digit_0005", "digit_1700"]
    assert torch.equal(chosen[1].input, Digits()[1700].input)
    assert list(load_samples(chosen, Identity())) == ["digit_0005", "digit_1700"]


def test_a_split_shares_no_digit_and_depends_on_its_seed_alone() -> None:
    first, second = Digits().split(300, seed=1)
    assert len(first) == 300
    assert sorted(first.indices + second.indices) == list(range(1797))
    assert Digits().split(300, seed=1)[0].indices == first.indices
    assert Digits().split(300, seed=2)[0].indices != first.indices


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ReadoutError, match="digit is 1797; give a whole number from 0 to 1796"):
        Digits([1797])
    with pytest.raises(ReadoutError, match="can't be split into 1797 and the rest"):
        Digits().split(1797)


def test_a_limit_takes_the_first() -> None:
    assert Digits(limit=3).indices == [0, 1, 2]
    assert Digits([7, 5, 3], limit=2).indices == [7, 5]
    with pytest.raises(ReadoutError, match="limit is 3, but there are 2 digits"):
        Digits([7, 5], limit=3)
