import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from torch import Tensor

from readout.metrics import correlation_distance


def pairs(count: int) -> tuple[Tensor, Tensor]:
    """Rows, and the same rows with noise."""
    x, noise = torch.rand(2, count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return x, x + noise


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 8, 8), (1, 100_000)])
def test_the_correlation_distance_is_numpys(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator)
    y = 3 + x + torch.randn(shape, generator=generator)
    expected = [1 - np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    assert correlation_distance(x, y).tolist() == pytest.approx(expected, abs=1e-5)


def test_the_correlation_distance_runs_from_0_to_2() -> None:
    x = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    assert correlation_distance(x, x).tolist() == pytest.approx([0] * 4, abs=1e-6)
    assert correlation_distance(x, -x).tolist() == pytest.approx([2] * 4, abs=1e-6)


@budget(deadline=None)
@given(log_scale=st.integers(-12, 12), offset=st.floats(-2, 2))
def test_the_correlation_distance_knows_no_scale_and_no_offset(log_scale: int, offset: float) -> None:
    x, y = (side.double() for side in pairs(2))
    moved = (x + offset) * 10.0**log_scale
    torch.testing.assert_close(correlation_distance(moved, y), correlation_distance(x, y), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dimension", [10, 1000, 10007])
@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1e-3, -255.1])
def test_nothing_correlates_with_a_constant(value: float, dimension: int) -> None:
    constant = torch.full((1, dimension), value)
    varied = torch.randn(1, dimension, generator=torch.Generator().manual_seed(0))
    assert correlation_distance(constant, varied).item() == pytest.approx(1, abs=1e-5)
    assert correlation_distance(varied, constant).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("dimension", [10, 1000, 10007])
@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1e-3, -255.1])
def test_two_constants_do_not_correlate_either(value: float, dimension: int) -> None:
    constant = torch.full((1, dimension), value)
    for other in (constant, 0.77 * constant, -constant):
        assert correlation_distance(constant, other).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("fill", [0.0, 1e6, float("nan")])
def test_what_is_masked_does_not_count(fill: float) -> None:
    x, y = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(5) < torch.tensor([[5], [3], [1]])
    alone = torch.cat([correlation_distance(x[i : i + 1, mask[i]], y[i : i + 1, mask[i]]) for i in range(3)])
    x, y = (side.masked_fill(~mask.unsqueeze(-1), fill) for side in (x, y))
    torch.testing.assert_close(correlation_distance(x, y, mask), alone, rtol=0, atol=1e-6)


def test_equal_and_constant_rows_are_known_under_a_mask_too() -> None:
    x = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True, True, False], [True, True, False]])
    y = x.clone()
    y[:, 2] = 7
    x[1, :2] = 0.3
    assert correlation_distance(x, y, mask).tolist() == [0, 1]
