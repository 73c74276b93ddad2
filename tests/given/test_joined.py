from typing import Any

import pytest
import torch
from torch import Tensor, nn

from readout.errors import ReadoutError
from readout.extractors import VGG19, FeatureExtractor
from readout.given import JoinedLayers, SumOverLayers, as_one_layer
from readout.given.joined import extract_several
from readout.inversions import FeatureLoss, ImageInversion, MeanSquaredError
from readout.priors import Pixels
from tests.extractors.test_base import counting
from tests.tiny import TinyNet

X = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SHAPES = {"early": (8, 16, 16), "late": (16, 8, 8)}


class InPlace(FeatureExtractor):
    """Its ReLU writes into what the convolution before gave."""

    def __init__(self) -> None:
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3))
        super().__init__(network, layers={"first": "0", "second": "2"})


@pytest.mark.parametrize(
    ("extractor", "layers"),
    [
        (TinyNet(), ["early", "middle", "late"]),
        (InPlace(), ["first", "second"]),
        (VGG19(weights=None), ["conv1_2", "conv2_1"]),
    ],
)
def test_several_layers_are_what_each_is_alone(extractor: FeatureExtractor, layers: list[str]) -> None:
    found = extract_several(extractor, X, layers)
    assert list(found) == layers
    for layer, feature in found.items():
        torch.testing.assert_close(feature, extractor.extract(X, layer), rtol=0, atol=0)


def test_the_network_runs_once_and_no_further_than_the_deepest() -> None:
    net = TinyNet()
    with counting(net.network) as runs:
        extract_several(net, X, ["early", "middle"])
    assert dict(runs) == {"0": 1, "1": 1, "2": 1}
    assert not any(module._forward_hooks for module in net.modules())


def test_layers_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ReadoutError, match="'late' of TinyNet did not run before 'early'"):
        extract_several(TinyNet(), X, ["late", "early"])


def test_joined_features_lie_one_after_the_other_and_gradients_reach_the_input() -> None:
    net = TinyNet()
    joined = JoinedLayers(net, ["early", "late"])
    x = X.clone().requires_grad_()
    feature = joined.extract(x, "early+late")
    expected = torch.cat([net.extract(X, layer).flatten(1) for layer in SHAPES], 1)
    torch.testing.assert_close(feature, expected)
    (gradient,) = torch.autograd.grad(feature.sum(), x)
    (plain,) = torch.autograd.grad(sum(net.extract(x, layer).sum() for layer in SHAPES), x)  # type: ignore[arg-type]
    torch.testing.assert_close(gradient, plain)
    assert (joined.name, joined.weights_name, joined.fingerprint()) == (net.name, net.weights_name, net.fingerprint())


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    size = sum(torch.Size(shape).numel() for shape in SHAPES.values())
    feature, target = torch.randn(2, 3, size, generator=generator)
    return feature, target


def test_the_loss_is_the_weighted_sum_over_layers() -> None:
    feature, target = pair()
    loss = SumOverLayers(MeanSquaredError(), SHAPES, {"late": 0.25})
    split = 8 * 16 * 16
    early, late = (feature - target).square().split([split, feature.shape[1] - split], 1)
    torch.testing.assert_close(loss(feature, target), early.mean(1) + 0.25 * late.mean(1))
    early, late = target.split([split, feature.shape[1] - split], 1)
    torch.testing.assert_close(loss.scale(target), early.var(1, correction=0) + 0.25 * late.var(1, correction=0))


def test_each_layer_is_shown_to_its_loss_in_its_own_shape() -> None:
    class OnGrid(FeatureLoss):
        def forward(self, feature: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
            shapes.append(tuple(feature.shape[1:]))
            return (feature - target).flatten(1).mean(1)

    shapes: list[Any] = []
    SumOverLayers(OnGrid(), SHAPES, {})(*pair())
    assert shapes == list(SHAPES.values())


def test_balanced_layers_have_an_equal_say_whatever_their_scale() -> None:
    feature, target = pair()
    split = 8 * 16 * 16
    scales = torch.ones(feature.shape[1])
    scales[:split] = 1000
    loss = SumOverLayers(MeanSquaredError(), SHAPES, "balanced")
    torch.testing.assert_close(loss(feature * scales, target * scales), loss(feature, target))
    torch.testing.assert_close(loss.scale(target), torch.full((3,), 2.0))


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"middle": 1.0}, "names 'middle', of which there is no feature; those given are early, late"),
        ({"early": -1.0}, "is -1"),
        ({"early": float("nan")}, "is nan"),
        ({"early": 0.0, "late": 0.0}, "nothing to invert"),
        ("equal", "'balanced'"),
    ],
)
def test_weights_that_mean_nothing(weights: Any, words: str) -> None:
    with pytest.raises(ReadoutError, match=words):
        SumOverLayers(MeanSquaredError(), SHAPES, weights)


def test_an_inversion_sees_one_layer_and_is_itself_again_afterwards() -> None:
    inversion = ImageInversion(TinyNet(), Pixels())
    extractor, loss = inversion.extractor, inversion.loss
    plain = inversion.describe()
    with as_one_layer(inversion, SHAPES, {"late": 0.5}) as layer:
        assert (layer, list(inversion.extractor.layers)) == ("early+late", ["early+late"])
        weighted = inversion.describe()
    with as_one_layer(inversion, SHAPES, {"late": 0.25}):
        assert inversion.describe() != weighted != plain
    with as_one_layer(inversion, {"late": SHAPES["late"]}) as layer:
        assert (layer, inversion.extractor) == ("late", extractor)  # one layer is what it is to `fit`
    assert inversion.extractor is extractor
    assert inversion.loss is loss
