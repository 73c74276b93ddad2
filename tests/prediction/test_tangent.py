import pytest
import torch

from readout.extractors import OrthonormalLinear
from readout.prediction import predict_size, tangent_size


@pytest.mark.parametrize("expansion", [1, 4, 8])
@pytest.mark.parametrize("threshold", [0.1, 0.4])
def test_a_linear_network_has_the_threshold_as_its_tangent_size(expansion: int, threshold: float) -> None:
    network = OrthonormalLinear((3, 8, 8), expansion)
    x = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    found = tangent_size(network, "linear", x, threshold)
    assert found == pytest.approx(threshold, abs=0.015)
    isotropic = predict_size(network, "linear", x, threshold=threshold, prior="none").size
    assert isotropic >= found - 1e-6


def test_a_size_below_the_finest_level_is_0() -> None:
    x = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert tangent_size(OrthonormalLinear((3, 8, 8), 2), "linear", x, 1e-3) == 0
