from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor, OrthonormalLinear
from readout.metrics import correlation_distance
from readout.perturbations import noise_to_signal
from readout.prediction import NaturalImages, NoPrior, predict_size
from readout.prediction.curve import centred
from readout.representation import linear_distance, linear_size
from tests.tiny import Identity, TinyNet

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def image(side: int = 16, seed: int = 0) -> Tensor:
    """A smooth image: noise of falling power."""
    noise = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(seed))
    smooth = NaturalImages(torch.rand(3, side, side)).root(noise)[0]
    return 0.5 + 0.1 * (smooth - smooth.mean()) / smooth.std()


class Scaled(FeatureExtractor):
    """TinyNet's feature times a constant."""

    def __init__(self, factor: float) -> None:
        last = nn.Conv2d(16, 16, 1, groups=16, bias=False)
        last.weight.data.fill_(factor)
        super().__init__(nn.Sequential(TinyNet().network, last), layers={"late": "1"})


# Known answers


@pytest.mark.parametrize("expansion", [1, 4, 32])
@pytest.mark.parametrize("steps", [None, 1, 50])
def test_a_linear_network_meets_the_closed_form(expansion: int, steps: int | None) -> None:
    x = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))
    extractor = OrthonormalLinear((3, 12, 12), expansion=expansion, mean=float(x.mean()))
    found = predict_size(extractor, "linear", x, LEVELS, prior="none", steps=steps)
    assert found.distances == pytest.approx(linear_distance(LEVELS, expansion).tolist(), abs=0.01)
    assert found.size == pytest.approx(linear_size(0.1, expansion), abs=0.01)
    assert found.converged
    assert max(found.standard_errors) < 0.005


def test_an_identity_network_loses_what_its_feature_loses() -> None:
    found = predict_size(Identity(), "identity", image(), LEVELS, threshold=0.25, prior="none")
    assert found.distances == pytest.approx(LEVELS, abs=0.01)
    assert found.size == pytest.approx(0.25, abs=0.01)


def test_an_identity_network_with_a_prior_is_wieners_filter() -> None:
    x = image()[:1]
    frequencies = np.fft.fftfreq(16)
    squares = frequencies[:, None] ** 2 + frequencies**2
    squares[0, 0] = 1 / 16**2
    spectrum = np.abs(np.fft.fft2(x[0].double() - float(x.mean()))) ** 2 / 256
    power = spectrum.sum() / (1 / squares).ravel()[1:].sum() / squares
    expected = []
    for level in LEVELS:
        gain = power / (power + float(x.double().var(unbiased=False)) * noise_to_signal(level) ** 2)
        noise = (gain * (1 - gain) * power).ravel()[1:].sum()
        arrived = (gain * spectrum).sum()
        expected.append(1 - arrived / np.sqrt(spectrum.sum() * ((gain**2 * spectrum).sum() + noise)))
    found = predict_size(Identity(), "identity", x, LEVELS, tolerance=1e-5)
    assert found.distances == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("layer", ["early", "late"])
def test_the_average_over_the_prior_is_that_of_the_posterior_covariance(layer: str) -> None:
    x = image()
    jacobian, feature, root = linearised(TinyNet(), layer, x, NaturalImages(x))
    expected = []
    for level in LEVELS:
        variance = float(feature.var(unbiased=False)) * noise_to_signal(level) ** 2
        covariance = torch.linalg.inv(jacobian.t() @ jacobian / variance + torch.linalg.inv(root @ root))
        share = centred(centred(covariance).t()).trace() / centred(x.unsqueeze(0)).double().square().sum()
        expected.append(float(1 - (1 - share).sqrt()))
    found = predict_size(TinyNet(), layer, x, LEVELS, average=True, probes=16, tolerance=1e-4)
    assert found.distances == pytest.approx(expected, abs=0.004)


def test_images_of_the_prior_are_recovered_as_the_average_says() -> None:
    one_by_one = [predict_size(TinyNet(), "early", image(seed=seed), [0.6]).distances[0] for seed in range(20)]
    averages = [
        predict_size(TinyNet(), "early", image(), [0.6], average=True, seed=seed).distances[0] for seed in (0, 1)
    ]
    assert np.mean(averages) == pytest.approx(np.mean(one_by_one), abs=0.03)


@pytest.mark.parametrize("layer", ["early", "late"])
@pytest.mark.parametrize(("prior", "steps"), [("natural", None), ("none", 60)])
def test_the_dense_computation_agrees(layer: str, prior: Any, steps: int | None) -> None:
    x = image()
    found = predict_size(TinyNet(), layer, x, LEVELS, prior=prior, steps=steps, probes=16, tolerance=1e-4)
    assert found.distances == pytest.approx(dense(TinyNet(), layer, x, steps), abs=0.004)


def test_a_decoder_on_real_noise_agrees() -> None:
    """The linear decoder itself, run on draws of noise: d_X is what was predicted of it."""
    x, level, draws = image(), 0.6, 40
    jacobian, feature, root = linearised(TinyNet(), "early", x, NaturalImages(x))
    variance = float(feature.var(unbiased=False)) * noise_to_signal(level) ** 2
    seen = jacobian @ root
    noise = torch.randn(draws, len(feature), generator=torch.Generator().manual_seed(0)).double() * variance**0.5
    target = jacobian @ centred(x.unsqueeze(0)).flatten().double() + noise
    white = torch.linalg.solve(seen.t() @ seen + variance * torch.eye(x.numel()), seen.t() @ target.t())
    recovered = (root @ white).t()
    measured = correlation_distance(recovered, x.flatten().double().expand(draws, -1)).mean()
    assert predict_size(TinyNet(), "early", x, [level]).distances[0] == pytest.approx(float(measured), abs=0.005)


def dense(extractor: FeatureExtractor, layer: str, x: Tensor, steps: int | None) -> list[float]:
    """The same from whole matrices, in the pixels' basis and by direct solution."""
    prior = NaturalImages(x) if steps is None else NoPrior(x)
    jacobian, feature, root = linearised(extractor, layer, x, prior)
    identity = torch.eye(x.numel(), dtype=torch.float64)
    true = (x - prior.mean).flatten().double()
    found = []
    for level in LEVELS:
        variance = float(feature.var(unbiased=False)) * noise_to_signal(level) ** 2
        if steps is None:
            precision = jacobian.t() @ jacobian / variance + torch.linalg.inv(root @ root)
            decoder = torch.linalg.solve(precision, jacobian.t() / variance)
        else:
            hessian = jacobian.t() @ jacobian
            rate = 1 / torch.linalg.eigvalsh(hessian)[-1]
            left = torch.linalg.matrix_power(identity - rate * hessian, steps)
            decoder = torch.linalg.solve(hessian + 1e-12 * identity, (identity - left) @ jacobian.t())
        recovered = centred((decoder @ (jacobian @ true)).unsqueeze(0))[0]
        noise = variance * centred(decoder.t()).square().sum()
        pattern = centred(true.unsqueeze(0))[0]
        power = recovered.square().sum() + noise
        found.append(float(1 - recovered @ pattern / (pattern.norm() * power.sqrt())))
    return found


def linearised(
    extractor: FeatureExtractor, layer: str, x: Tensor, prior: NaturalImages | NoPrior
) -> tuple[Tensor, Tensor, Tensor]:
    """J, h and C^½ as matrices."""
    jacobian = torch.autograd.functional.jacobian(lambda z: extractor.extract(z.unsqueeze(0), layer).flatten(), x)
    feature = extractor.extract(x.unsqueeze(0), layer).flatten()
    root = prior.root(torch.eye(x.numel()).view(-1, *x.shape)).flatten(1)
    return jacobian.flatten(1).double(), feature.double(), root.double()


# Properties


@pytest.mark.parametrize("prior", ["natural", "none"])
def test_more_noise_never_helps(prior: Literal["natural", "none"]) -> None:
    distances = predict_size(TinyNet(), "late", image(), prior=prior).distances
    assert list(distances) == sorted(distances)


def test_the_prior_helps_a_smooth_image_and_harms_noise() -> None:
    noisy = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1))

    def distance(x: Tensor, prior: Literal["natural", "none"]) -> float:
        return predict_size(Identity(), "identity", x, [0.5], prior=prior).distances[0]

    assert distance(image(), "natural") < distance(image(), "none") - 0.1
    assert distance(noisy, "natural") > distance(noisy, "none") + 0.1


def test_the_scale_of_features_does_not_matter() -> None:
    first, second = (predict_size(Scaled(factor), "late", image(), LEVELS) for factor in (1e-3, 1e3))
    assert first.distances == pytest.approx(second.distances, abs=1e-4)


def test_the_seed_decides_the_probes_and_little_else() -> None:
    first, again, other = (predict_size(TinyNet(), "late", image(), LEVELS, seed=seed) for seed in (0, 0, 1))
    assert first.distances == pytest.approx(again.distances, abs=1e-6)
    assert first.distances != pytest.approx(other.distances, abs=1e-6)
    assert first.distances == pytest.approx(other.distances, abs=6 * max(first.standard_errors))


def test_standard_errors_fall_with_the_number_of_probes_and_need_two() -> None:
    few, many = (predict_size(TinyNet(), "late", image(), LEVELS, probes=count) for count in (4, 64))
    assert sum(many.standard_errors) < sum(few.standard_errors)
    single = predict_size(TinyNet(), "late", image(), LEVELS, probes=1)
    assert torch.tensor(single.standard_errors).isnan().all()
    assert single.vectors == 2


def test_a_size_at_the_end_of_the_levels_is_a_lower_bound() -> None:
    found = predict_size(TinyNet(), "early", image(), LEVELS, threshold=0.999)
    assert (found.size, found.censored) == (0.99, True)


def test_what_is_never_recovered_has_size_0() -> None:
    found = predict_size(TinyNet(), "late", image(), LEVELS, threshold=1e-9)
    assert (found.size, found.censored) == (0.0, False)


def test_the_size_is_where_the_curve_crosses() -> None:
    whole = predict_size(TinyNet(), "early", image(), LEVELS, tolerance=1e-5)
    again = predict_size(TinyNet(), "early", image(), [whole.size], tolerance=1e-5)
    assert again.distances[0] == pytest.approx(0.1, abs=1e-3)
    assert not whole.censored


def test_stopping_short_is_said() -> None:
    found = predict_size(TinyNet(), "late", image(), LEVELS, max_iterations=4)
    assert found.iterations == 4
    assert not found.converged


def test_one_direction_may_be_all_there_is() -> None:
    extractor = FeatureExtractor(nn.Sequential(nn.Flatten(), nn.Linear(48, 3)), {"bottleneck": "1"})
    found = predict_size(extractor, "bottleneck", image(4), LEVELS)
    assert all(0 < distance < 1 for distance in found.distances)
    assert found.converged


# Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": "dip"}, "prior is 'dip'; choose 'natural' or 'none'"),
        ({"steps": 5}, "steps count gradient descent without a prior"),
        ({"steps": 0, "prior": "none"}, "steps is 0; give a whole number of at least 1"),
        ({"average": True, "prior": "none"}, "nothing to average over without a prior"),
        ({"probes": 0}, "probes is 0"),
        ({"max_iterations": 0}, "max_iterations is 0"),
        ({"threshold": 0}, "threshold is 0; give a number above 0"),
        ({"levels": []}, r"levels is \[\]; give a list"),
        ({"levels": [0, 0.5]}, "A level is 0; give a number above 0 and below 1"),
        ({"levels": [1.0]}, r"A level is 1\.0"),
        ({"x": torch.full((3, 8, 8), 0.5)}, "The input is constant"),
        ({"x": torch.full((3, 8, 8), torch.nan)}, "not finite"),
        ({"x": torch.rand(1, 3, 8, 8)}, "needs an image of 1 or 3 channels"),
        ({"layer": "lat"}, "has no layer 'lat'. Did you mean late"),
    ],
)
def test_bad_arguments_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"extractor": TinyNet(), "layer": "late", "x": image(8), **changes}
    with pytest.raises(ReadoutError, match=message):
        predict_size(**arguments)


def test_a_constant_feature_is_refused() -> None:
    silent = FeatureExtractor(nn.Sequential(nn.Conv2d(3, 2, 1)), {"only": "0"})
    for parameter in silent.parameters():
        parameter.data.zero_()
    with pytest.raises(ReadoutError, match="gives the same value everywhere"):
        predict_size(silent, "only", image(8))
