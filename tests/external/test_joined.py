from typing import Any

import pytest
import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.common.padding import PADDING, pad
from readout.external import JoinedLayers, JoinedTextLayers, SumOverLayers, as_one_layer
from readout.external.joined import extract_several
from readout.extractors import VGG19, FeatureExtractor, LanguageModel
from readout.priors import Pixels
from readout.readouts import FeatureLoss, ImageInversion, MeanSquaredError, MeanSquaredErrorAndCosine
from tests.extractors.test_base import counting
from tests.tiny import TinyNet
from tests.tiny_text import WIDTH, save_tiny

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


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return LanguageModel(save_tiny(tmp_path_factory.mktemp("bert")))


def test_joined_layers_of_texts_keep_positions_apart_and_padding_out(bert: LanguageModel) -> None:
    layers = ["embeddings", "layer.0", "layer.2"]
    whole = bert.frame(bert.tokenize("the quick dog ran over the old stone house"))
    ids = pad([whole, whole[:4]])
    mask = ids != PADDING
    joined = JoinedTextLayers(bert, layers)
    feature = joined.extract(joined.embed(ids), "+".join(layers), mask)
    assert feature.shape == (2, len(whole), 3 * WIDTH)
    for layer, part in zip(layers, feature.split(WIDTH, dim=-1), strict=True):
        torch.testing.assert_close(part, bert.extract(bert.embed(ids), layer, mask), rtol=0, atol=0)
        alone = bert.extract(bert.embed(ids[1:, :4]), layer)
        torch.testing.assert_close(part[1:, :4], alone)
    assert joined.decode(whole) == bert.decode(whole)
    assert joined.tokens(whole) == bert.tokens(whole)
    assert torch.equal(joined.is_special(ids), bert.is_special(ids))
    assert joined.embedding is bert.embedding
    assert joined.fingerprint() == bert.fingerprint()


@pytest.mark.parametrize("weights", [{"late": 0.25}, "balanced"])
def test_a_loss_of_padded_texts_is_that_of_each_alone(weights: Any) -> None:
    generator = torch.Generator().manual_seed(2)
    feature, target = torch.randn(2, 2, 5, 7, generator=generator)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    loss = SumOverLayers(MeanSquaredErrorAndCosine(), {"early": (3,), "late": (4,)}, weights)
    alone = loss(feature[1:, :3], target[1:, :3])
    torch.testing.assert_close(loss(feature, target, mask)[1:], alone)
    torch.testing.assert_close(loss.scale(target, mask)[1:], loss.scale(target[1:, :3]))
    early, late = (
        MeanSquaredErrorAndCosine()(feature[:1, :, part], target[:1, :, part]) for part in (slice(3), slice(3, 7))
    )
    if weights != "balanced":
        torch.testing.assert_close(loss(feature, target, mask)[:1], early + 0.25 * late)


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
        ({"middle": 1.0}, "names 'middle', of which there is no feature; choose from early, late"),
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
