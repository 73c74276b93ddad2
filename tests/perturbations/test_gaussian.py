import math
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.perturbations import GaussianPerturbation, check_levels, noise_to_signal

LEVELS = (0.1, 0.5, 0.9, 0.99)
Calibration = Literal["expected", "exact"]
both = pytest.mark.parametrize("calibration", ["expected", "exact"])


def features(count: int, dimension: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Skewed features away from zero, as activations are."""
    generator = torch.Generator().manual_seed(0)
    return 1 + torch.randn(count, dimension, generator=generator, dtype=dtype).exp()


def distance(x: Tensor, y: Tensor) -> float:
    """Correlation distance by an independent route."""
    return float(1 - np.corrcoef(x.double().numpy().ravel(), y.double().numpy().ravel())[0, 1])


def perturb(feature: Tensor, level: float, seed: int = 1, calibration: Calibration = "expected") -> Tensor:
    """One feature, without a batch dimension."""
    perturbation = GaussianPerturbation(calibration)
    return perturbation(feature.unsqueeze(0), torch.tensor([level], dtype=torch.float64), [seed])[0]


@pytest.mark.parametrize(
    ("level", "ratio", "digits"),
    [
        (0.0, 0.0, 2),
        (0.1, 0.48, 2),
        (0.3, 1.02, 2),
        (0.5, 1.73, 2),
        (0.7, 3.18, 2),
        (0.9, 9.95, 2),
        (0.99, 100.0, 1),
    ],
)
def test_the_noise_to_signal_ratios_are_the_papers(level: float, ratio: float, digits: int) -> None:
    assert round(noise_to_signal(level), digits) == ratio


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dimension", [10**4, 10**6])
def test_the_expected_calibration_comes_close_in_many_dimensions(dimension: int, level: float) -> None:
    feature = features(1, dimension)[0]
    # The realised correlation has a standard deviation of at most 1/√D; five of them.
    assert distance(perturb(feature, level), feature) == pytest.approx(level, abs=5 / math.sqrt(dimension))


@pytest.mark.parametrize("level", LEVELS)
def test_the_noise_has_the_variance_of_the_papers_rule(level: float) -> None:
    feature = features(1, 10**6)[0]
    ratio = float((perturb(feature, level) - feature).double().std() / feature.double().std())
    # The standard deviation of D numbers has itself one of 1/√(2D) of it; five of them.
    assert ratio == pytest.approx(noise_to_signal(level), rel=5 / math.sqrt(2 * 10**6))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dimension", [10, 100, 10**4, 10**6])
def test_the_exact_calibration_is_exact_in_any_dimension(dimension: int, level: float) -> None:
    feature = features(1, dimension)[0]
    assert distance(perturb(feature, level, calibration="exact"), feature) == pytest.approx(level, abs=1e-5)


def test_the_exact_calibration_keeps_the_mean_of_the_feature() -> None:
    feature = features(1, 100, torch.float64)[0]
    assert float(perturb(feature, 0.9, calibration="exact").mean()) == pytest.approx(float(feature.mean()), abs=1e-10)


@both
@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1 / 3, 1e-3, 255.1])
@pytest.mark.parametrize("dimension", [10, 1000, 10007])
def test_a_constant_feature_is_refused(calibration: Calibration, value: float, dimension: int) -> None:
    with pytest.raises(ReadoutError, match="same value everywhere"):
        perturb(torch.full((dimension,), value), 0.5, calibration=calibration)


@pytest.mark.parametrize("level", [-0.1, 1.0, 1.5, math.nan, math.inf])
def test_a_level_outside_0_to_1_is_refused(level: float) -> None:
    with pytest.raises(ReadoutError, match="of at least 0 and below 1"):
        perturb(features(1, 10)[0], level)
    with pytest.raises(ReadoutError, match="of at least 0 and below 1"):
        check_levels([0.0, 0.5, level])


def test_the_levels_of_the_paper_are_fine() -> None:
    check_levels([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99])


def test_an_unknown_calibration_is_refused() -> None:
    with pytest.raises(ReadoutError, match="'expected' or 'exact'"):
        GaussianPerturbation("roughly")  # type: ignore[arg-type]
