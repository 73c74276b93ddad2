import numpy as np
import pytest
import torch
from torch import Tensor

from readout.extractors import OrthonormalLinear
from readout.perturbations import GaussianPerturbation
from readout.representation import linear_distance


def weight(extractor: OrthonormalLinear) -> Tensor:
    return extractor.network.get_parameter("1.weight")


@pytest.mark.parametrize("expansion", [1, 1.5, 4])
def test_the_columns_are_orthonormal(expansion: float) -> None:
    w = weight(OrthonormalLinear((3, 4, 5), expansion))
    assert w.shape == (round(60 * expansion), 60)
    torch.testing.assert_close(w.t() @ w, torch.eye(60), rtol=0, atol=1e-5)


def test_the_expansion_is_features_over_inputs() -> None:
    extractor = OrthonormalLinear((2, 3, 4), expansion=3)
    assert extractor.shapes(extractor.example(224)) == {"linear": (72,)}


def test_the_feature_is_the_weight_times_the_centred_input() -> None:
    extractor = OrthonormalLinear((1, 4, 4), mean=0.25)
    x = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(extractor.extract(x, "linear"), (x - 0.25).flatten(1) @ weight(extractor).t())


@pytest.mark.parametrize("level", [0.3, 0.7])
def test_least_squares_from_a_perturbed_feature_gives_the_closed_form(level: float) -> None:
    extractor, draws = OrthonormalLinear((3, 10, 10), expansion=4), 100
    x = torch.rand(1, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    feature = extractor.extract(x, "linear").repeat(draws, 1)
    perturbed = GaussianPerturbation()(feature, torch.full((draws,), level), list(range(draws)))
    recovered = torch.linalg.lstsq(weight(extractor), perturbed.t()).solution.t()
    found = [1 - np.corrcoef(x.flatten(), one)[0, 1] for one in recovered.numpy()]
    # A correlation over d dimensions has a standard deviation of at most 1/√d and a bias of order 1/d.
    tolerance = 4 / np.sqrt(300 * draws) + 1 / 300
    assert np.mean(found) == pytest.approx(float(linear_distance(level, 4)), abs=tolerance)
