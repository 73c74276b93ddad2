import math
from typing import Any

import pytest
import torch

from readout.data import GaussianNoise, UniformNoise

KINDS = pytest.mark.parametrize("kind", [UniformNoise, GaussianNoise])


@KINDS
def test_an_input_is_the_same_however_many_there_are(kind: Any) -> None:
    few, many = kind(count=2), kind(count=5)
    for one, other in zip(few, many, strict=False):
        assert one.name == other.name
        assert torch.equal(one.input, other.input)


@KINDS
def test_inputs_differ_from_each_other_and_between_seeds(kind: Any) -> None:
    samples = [*kind(count=3, seed=0), *kind(count=3, seed=1)]
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


def test_uniform_noise_is_what_it_was_when_results_were_first_stored() -> None:
    torch.testing.assert_close(
        UniformNoise()[0].input[0, 0, :3], torch.tensor([0.0876612663, 0.168076634, 0.0819703341]), rtol=0, atol=0
    )


def test_clipped_values_are_normal_and_the_rest_lies_on_the_edges() -> None:
    mean, std = 0.4, 0.3
    values = GaussianNoise(count=1, shape=(3, 64, 64), mean=mean, std=std)[0].input.flatten().double()
    count = len(values)

    def below(x: float) -> float:
        return 0.5 * (1 + math.erf((x - mean) / std / 2**0.5))

    # four standard errors
    def close(share: float, expected: float) -> bool:
        return abs(share - expected) < 4 * (expected * (1 - expected) / count) ** 0.5

    assert close((values == 0).double().mean().item(), below(0))
    assert close((values == 1).double().mean().item(), 1 - below(1))
    for x in (0.1, 0.4, 0.7, 0.95):
        assert close((values <= x).double().mean().item(), below(x))


def test_mean_and_deviation_shift_and_scale_the_same_noise() -> None:
    one, other = GaussianNoise(mean=0.5, std=0.01)[0].input, GaussianNoise(mean=0.4, std=0.02)[0].input
    torch.testing.assert_close((other - 0.4) / 0.02, (one - 0.5) / 0.01, rtol=0, atol=1e-4)


def test_the_defaults_clip_as_much_as_the_docstring_says() -> None:
    values = GaussianNoise(count=1, shape=(3, 256, 256))[0].input
    assert ((values == 0) | (values == 1)).float().mean().item() == pytest.approx(0.0124, abs=0.001)


@KINDS
def test_the_global_random_state_is_neither_read_nor_moved(kind: Any) -> None:
    torch.manual_seed(0)
    first, state = kind()[0].input, torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(kind()[0].input, first)
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


@KINDS
def test_inputs_have_the_shape_asked_for(kind: Any) -> None:
    data = kind(count=2, shape=[1, 5, 7])
    assert len(data) == 2
    assert [sample.input.shape for sample in data] == [(1, 5, 7)] * 2


@KINDS
@pytest.mark.parametrize("index", [2, -1])
def test_past_the_end_is_an_index_error(kind: Any, index: int) -> None:
    with pytest.raises(IndexError):
        kind(count=2)[index]
