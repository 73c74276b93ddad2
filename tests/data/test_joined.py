import pytest
import torch

from readout.common.errors import ReadoutError
from readout.data import Joined, UniformNoise, load_samples
from tests.tiny import Identity


def test_inputs_follow_each_other_with_names_of_their_own() -> None:
    first, second = UniformNoise(count=2, shape=(3, 4, 4)), UniformNoise(count=3, shape=(3, 4, 4), seed=1)
    joined = Joined([first, second, first])
    names = ["0/noise_000", "0/noise_001", "1/noise_000", "1/noise_001", "1/noise_002", "2/noise_000", "2/noise_001"]
    assert list(load_samples(joined, Identity())) == names
    assert len(joined) == 7
    expected = [*first, *second, *first]
    assert all(torch.equal(one.input, other.input) for one, other in zip(joined, expected, strict=True))


@pytest.mark.parametrize("index", [5, -1])
def test_past_the_end_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError):
        Joined([UniformNoise(count=2), UniformNoise(count=3)])[index]


def test_no_source_is_one_sentence() -> None:
    with pytest.raises(ReadoutError, match="sources is"):
        Joined([])
