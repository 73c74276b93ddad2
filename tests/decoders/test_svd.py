import pytest
import torch

from readout.decoders.svd import thin_svd


@pytest.mark.parametrize("shape", [(12, 50), (50, 12), (12, 9000), (9000, 12)])
def test_it_is_the_singular_value_decomposition(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = thin_svd(matrix)
    assert values.tolist() == pytest.approx(torch.linalg.svdvals(matrix.double()).tolist())
    torch.testing.assert_close(left @ values.diag() @ right.double(), matrix.double(), atol=1e-5, rtol=0)
    for vectors in (left.T, right.double()):
        torch.testing.assert_close(vectors @ vectors.T, torch.eye(12, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(12, 50), (50, 12)])
def test_directions_without_variance_are_left_out(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape[0], 3, generator=generator) @ torch.randn(3, shape[1], generator=generator)
    # in float32 the other directions hold rounding, 1e-7 of the others
    left, values, right = thin_svd(matrix.double())
    assert (left.shape, values.shape, right.shape) == ((shape[0], 3), (3,), (3, shape[1]))
    assert len(thin_svd(torch.zeros(shape))[1]) == 0
