import pytest
import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor, OrthonormalLinear
from readout.prediction import local_dimension, two_nn
from readout.prediction.dimension import _rank


class Diagonal(FeatureExtractor):
    """h = diag(values) x, whose Jacobian has these singular values."""

    def __init__(self, values: Tensor) -> None:
        linear = nn.Linear(len(values), len(values), bias=False)
        linear.weight = nn.Parameter(torch.diag(values))
        super().__init__(nn.Sequential(nn.Flatten(), linear), {"linear": "1"}, mean=[0.0])


def test_orthonormal_columns_have_full_rank() -> None:
    found = local_dimension(OrthonormalLinear((3, 16, 16), expansion=8), "linear", torch.rand(3, 16, 16), energy=1)
    assert found.rank == pytest.approx(768, abs=1e-3)
    assert found.participation_ratio == pytest.approx(768, abs=1e-3)


def test_a_planted_spectrum_is_found() -> None:
    values = torch.cat([torch.full((20,), 3.0), torch.full((30,), 1.0), torch.zeros(50)])
    found = local_dimension(Diagonal(values), "linear", torch.rand(1, 10, 10), energy=1, probes=64)
    # signs meet each direction with the same weight, so counts are exact for a diagonal
    assert found.rank == pytest.approx(50, abs=1e-2)
    assert found.participation_ratio == pytest.approx((20 * 9 + 30) ** 2 / (20 * 81 + 30), rel=1e-3)
    most = local_dimension(Diagonal(values), "linear", torch.rand(1, 10, 10), energy=180 / 210, probes=64)
    assert most.rank == pytest.approx(20, abs=1e-2)


def test_the_rank_lies_between_whole_numbers_by_interpolation() -> None:
    values, weights = torch.tensor([4.0, 1.0], dtype=torch.float64), torch.tensor([1.0, 4.0], dtype=torch.float64)
    assert [_rank(values, weights, energy) for energy in (0.25, 0.5, 0.75, 1)] == pytest.approx([0.5, 1, 3, 5])


@pytest.mark.parametrize(("dimension", "low", "high"), [(2, 1.8, 2.2), (4, 3.5, 4.3), (8, 6.5, 8)])
def test_two_nn_finds_planted_dimensions(dimension: int, low: float, high: float) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(2000, dimension, generator=generator) @ torch.randn(dimension, 100, generator=generator)
    found = two_nn(points.view(2000, 4, 25))
    assert low < found < high
    assert two_nn(torch.cat([points, points[:100]])) == pytest.approx(two_nn(points))  # copies count once


def test_what_has_no_dimension_says_so() -> None:
    with pytest.raises(ReadoutError, match="does not change with this input"):
        local_dimension(Diagonal(torch.zeros(9)), "linear", torch.rand(1, 3, 3))
    with pytest.raises(ReadoutError, match="There are 3 different features"):
        two_nn(torch.eye(3).repeat(5, 1))
