import pytest
import torch

from readout.data import UniformNoise
from readout.errors import ReadoutError


def test_an_input_is_the_same_however_many_there_are() -> None:
    few, many = UniformNoise(count=2), UniformNoise(count=5)
    for one, other in zip(few, many, strict=False):
        assert one.name == other.name
        assert torch.equal(one.input, other.input)


def test_inputs_differ_from_each_other_and_between_seeds() -> None:
    samples = [*UniformNoise(count=3, seed=0), *UniformNoise(count=3, seed=1)]
    assert len({tuple(sample.input.flatten()[:4].tolist()) for sample in samples}) == 6
    assert [sample.name for sample in samples[:3]] == ["noise_000", "noise_001", "noise_002"]


def test_values_are_uniform_on_0_to_1() -> None:
    values = UniformNoise(count=1, shape=(3, 64, 64))[0].input.flatten()
    count = len(values)
    assert values.min() >= 0
    assert values.max() < 1
    # Kolmogorov's distance to the uniform distribution, at p = 10⁻⁴
    distance = (values.sort().values - (torch.arange(count) + 0.5) / count).abs().max()
    assert distance < 2.23 / count**0.5


def test_the_global_random_state_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    first, state = UniformNoise()[0].input, torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(UniformNoise()[0].input, first)
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_inputs_have_the_shape_asked_for() -> None:
    data = UniformNoise(count=2, shape=[1, 5, 7])
    assert len(data) == 2
    assert [sample.input.shape for sample in data] == [(1, 5, 7)] * 2


@pytest.mark.parametrize("index", [2, -1])
def test_past_the_end_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError):
        UniformNoise(count=2)[index]


def test_fewer_than_one_is_an_error() -> None:
    with pytest.raises(ReadoutError, match="count is 0; ask for at least 1"):
        UniformNoise(count=0)
