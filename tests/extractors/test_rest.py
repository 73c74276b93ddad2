from typing import Any

import pytest
import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.external.joined import JoinedLayers
from readout.extractors import VGG19, FeatureExtractor, TimmModel, TorchvisionModel
from readout.extractors.rest import RestOfNetwork, cut
from readout.extractors.submodules import Submodules
from tests.tiny import TinyNet


def images(side: int = 8) -> Tensor:
    return torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0))


class Counted(nn.Conv2d):
    """A convolution that counts how often it is computed."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 4, 3, padding=1)
        self.runs = 0

    def forward(self, input: Tensor) -> Tensor:
        self.runs += 1
        return super().forward(input)


class Block(nn.Module):
    """A residual block whose one ReLU runs twice, in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = Counted(4), Counted(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.relu(self.conv1(x)))
        out += x
        return self.relu(out)


def head(width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5))


def seeded(network: nn.Module) -> nn.Module:
    """Set weights that let every input through to the answer, which some initialisations don't."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, generator=generator)
    return network


def residual() -> Submodules:
    blocks = nn.Sequential(Block(), Block())
    return Submodules(seeded(nn.Sequential(Counted(3), blocks, head())))


def runs(extractor: FeatureExtractor) -> list[int]:
    """How often each convolution ran since the last time, in order."""
    counted = [module for module in extractor.network.modules() if isinstance(module, Counted)]
    found = [module.runs for module in counted]
    for module in counted:
        module.runs = 0
    return found


def state(extractor: FeatureExtractor) -> list[Any]:
    """What a run could leave behind in each module."""
    return [(vars(module).get("forward"), [*module._forward_hooks]) for module in extractor.modules()]


def agree(extractor: FeatureExtractor, layer: str, x: Tensor) -> None:
    """The answer from the layer's own feature is the network's, to the bit."""
    with torch.no_grad():
        answer = extractor.run(x)
        assert torch.equal(cut(extractor, layer, x[:1])(extractor.extract(x, layer)), answer)
    assert not torch.equal(answer[0], answer[1])


@pytest.mark.parametrize("layer", ["early", "middle", "late"])
def test_every_layer_of_a_plain_network_is_a_cut(layer: str) -> None:
    network = nn.Sequential(*TinyNet().network.children(), head(16))
    agree(FeatureExtractor(network, TinyNet().layers), layer, images())


@pytest.mark.parametrize(
    ("layer", "nearest"),
    [
        ("1.0.conv1", "0"),
        ("1.0.relu", "1.0"),  # the stem is as near, and the deeper of two is named
        ("1.1.conv1", "1.0"),
        ("1.1.conv2", "1.1"),
    ],
)
def test_a_branch_is_refused_and_the_nearest_cut_named(layer: str, nearest: str) -> None:
    extractor = residual()
    with pytest.raises(ReadoutError, match=rf"'{layer}' of Submodules is no cut: .*; choose '{nearest}', the nearest"):
        cut(extractor, layer, images())
    agree(extractor, nearest, images())


def test_a_network_may_have_no_cut() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).mean((2, 3)) + x.mean()

    extractor = FeatureExtractor(Beside(), layers={"conv": "conv"})
    with pytest.raises(ReadoutError, match="depends on what runs beside it; no layer of this network is"):
        cut(extractor, "conv", images())


@pytest.mark.parametrize(
    ("layer", "computed"),
    [
        ("0", [0, 1, 1, 1, 1]),
        ("1.0", [0, 0, 0, 1, 1]),
        ("1", [0, 0, 0, 0, 0]),
        ("1.0.conv2", [0, 0, 0, 1, 1]),  # inside a block that started before
    ],
)
def test_only_what_is_behind_the_layer_is_computed(layer: str, computed: list[int]) -> None:
    extractor, x = residual(), images()
    rest = RestOfNetwork(extractor, layer, x[:1])
    feature = extractor.extract(x, layer)
    runs(extractor)
    rest(feature)
    assert runs(extractor) == computed
    assert rest.is_cut == (layer != "1.0.conv2")


def test_a_branch_sees_the_feature_and_the_example() -> None:
    extractor, x = residual(), images()
    rest = RestOfNetwork(extractor, "1.1.conv2", x[:1])
    block, end = extractor.network[1][1], extractor.network[2]  # type: ignore[index]
    before = extractor.extract(x[:1], "1.0")
    feature = extractor.extract(x, "1.1.conv2")
    torch.testing.assert_close(rest(feature), end(block.relu(feature + before)))


@pytest.mark.parametrize(
    ("name", "side", "layer", "branch", "nearest"),
    [
        ("resnet18", 64, "layer2.0", "layer3.0.conv2", "layer2"),
        ("squeezenet1_1", 64, "classifier.1", "features.3.expand1x1", "features.3.squeeze_activation"),
        (
            "densenet121",
            32,
            "features.transition2.norm",
            "features.denseblock4.denselayer16.conv2",
            "features.denseblock4",
        ),
        ("googlenet", 32, "inception3a", "inception4a.branch1.conv", "maxpool3"),
    ],
)
def test_classifiers_of_torchvision(name: str, side: int, layer: str, branch: str, nearest: str) -> None:
    extractor = TorchvisionModel(name, None)
    seeded(extractor.network)
    agree(extractor, layer, images(side))
    with pytest.raises(ReadoutError, match=f"choose '{nearest}', the nearest"):
        cut(extractor, branch, images(side))


def test_classifiers_of_timm() -> None:
    extractor = TimmModel("test_vit", None, image_size=32)
    agree(extractor, "blocks.2", images(32))
    inside = Submodules(extractor.network)
    agree(inside, "norm", images(32))
    with pytest.raises(ReadoutError, match=r"choose 'blocks\.2', the nearest"):
        cut(inside, "blocks.2.mlp.fc2", images(32))


class InPlace(nn.Module):
    """A convolution whose input and output change in place before and after, and a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.head = Counted(3), Counted(4), head()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).mul_(2)
        scores: Tensor = self.head(self.conv(x).mul_(2) + x)
        return scores


def test_values_that_change_in_place_are_taken_as_they_were() -> None:
    extractor, x = FeatureExtractor(seeded(InPlace()), {"stem": "stem", "conv": "conv"}), images()
    agree(extractor, "stem", x)
    rest = RestOfNetwork(extractor, "conv", x[:1])
    torch.testing.assert_close(rest(extractor.extract(x[:1], "conv")), extractor.run(x[:1]))


class Twice(nn.Module):
    """One convolution inside a block that ends before the layer, and behind the layer."""

    def __init__(self) -> None:
        super().__init__()
        shared = Counted(4)
        self.network = nn.Sequential(Counted(3), nn.Sequential(shared), Counted(4), shared, head())

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.network(x)
        return scores


def test_a_module_that_also_runs_behind_the_layer_is_run_there() -> None:
    agree(FeatureExtractor(seeded(Twice()), {"layer": "network.2"}), "layer", images())


class Paired(nn.Module):
    """A module that returns its input and a factor, after a convolution."""

    def __init__(self, depends: bool) -> None:
        super().__init__()
        self.conv, self.depends = Counted(3), depends

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x), x.mean((1, 2, 3)).view(-1, 1, 1, 1) if self.depends else torch.ones(1, 4, 1, 1)


class Pairs(nn.Module):
    def __init__(self, depends: bool = False, beside: bool = False) -> None:
        super().__init__()
        self.first, self.same, self.last, self.head = Paired(depends), Same(), Counted(4), head()
        self.beside = beside

    def forward(self, x: Tensor) -> Tensor:
        first, factor = self.first(x)
        same, _ = self.same(first)
        scores: Tensor = self.head(self.last(same * factor) + self.beside * first)
        return scores


class Same(nn.Module):
    """A module that returns its input in a tuple."""

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return x, None


def pairs(**options: bool) -> FeatureExtractor:
    return FeatureExtractor(seeded(Pairs(**options)), {"first": "first", "same": "same", "last": "last"})


def test_the_other_elements_of_a_tuple_are_kept() -> None:
    agree(pairs(), "first", images())
    with pytest.raises(ReadoutError, match=r"'first' .* no cut"):
        cut(pairs(depends=True), "first", images())


def test_a_feature_does_not_reach_what_shares_memory_with_it() -> None:
    agree(pairs(), "same", images())
    with pytest.raises(ReadoutError, match=r"'same' .* no cut"):
        cut(pairs(beside=True), "same", images())


def test_convolutions_inside_what_returns_a_tuple_are_not_computed() -> None:
    extractor, x = pairs(), images()
    rest, feature = cut(extractor, "same", x), extractor.extract(x, "same")
    runs(extractor)
    rest(feature)
    assert runs(extractor) == [0, 1]


class TokensFirst(nn.Module):
    """A network on (tokens, batch, width)."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.block, self.head = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.block(self.patches(x).flatten(2).permute(2, 0, 1))
        scores: Tensor = self.head(tokens.relu_().mean(0))
        return scores


class BatchFirst(FeatureExtractor):
    def feature(self, output: Any, layer: str) -> Tensor:
        return super().feature(output, layer).transpose(0, 1)


class Doubled(FeatureExtractor):
    def feature(self, output: Any, layer: str) -> Tensor:
        return 2 * super().feature(output, layer)


def test_a_feature_is_put_back_into_the_modules_own_layout() -> None:
    extractor = BatchFirst(seeded(TokensFirst()), {"block": "block"})
    feature = extractor.extract(images(), "block")
    assert feature.shape == (3, 4, 6)
    agree(extractor, "block", images())
    before = feature.clone()
    rest = cut(extractor, "block", images())
    # the network works in place, and a feature may come in any memory layout
    assert torch.equal(rest(feature), rest(feature.contiguous()))
    assert torch.equal(feature, before)


def test_a_feature_that_cannot_be_put_back_is_refused() -> None:
    extractor = Doubled(seeded(TokensFirst()), {"block": "block"})
    with pytest.raises(ReadoutError, match=r"put back at layer 'block' of Doubled.*only select and transpose"):
        cut(extractor, "block", images())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_rest_runs_in_the_type_of_the_weights(dtype: torch.dtype) -> None:
    extractor, x = residual().to(dtype), images()
    rest, wide = cut(extractor, "1.0", x[:1]), dtype == torch.float64
    with torch.no_grad():
        answer = rest(extractor.extract(x, "1.0"))
        expected = extractor.run(x)
    assert answer.dtype == expected.dtype == dtype
    # the feature comes as float32, which rounds float64
    torch.testing.assert_close(answer, expected, rtol=1e-5 if wide else 0, atol=1e-6 if wide else 0)


def test_a_gradient_reaches_the_feature() -> None:
    extractor, x = residual(), images()
    feature = extractor.extract(x, "1").requires_grad_()
    (gradient,) = torch.autograd.grad(cut(extractor, "1", x)(feature)[0, 2], feature)
    weight = extractor.network[2][2].weight  # type: ignore[index]
    torch.testing.assert_close(gradient[0], weight[2].view(4, 1, 1).expand(4, 8, 8) / 64)
    assert not gradient[1:].any()


def test_the_network_is_as_it_was_after_a_run_and_after_an_exception() -> None:
    extractor, x = residual(), images()

    def own(x: Tensor) -> Tensor:
        return 2 * x

    def fail(*_: Any) -> None:
        if failing:
            raise ArithmeticError

    failing: list[bool] = []
    extractor.network[1][0].conv1.forward = own  # type: ignore[index]
    extractor.network[2][1].register_forward_hook(fail)  # type: ignore[index]
    before = state(extractor)
    rest = cut(extractor, "1.0", x)
    feature = extractor.extract(x, "1.0")
    rest(feature)
    with pytest.raises(RuntimeError):
        rest(feature[:, :1])
    failing.append(True)
    with pytest.raises(ArithmeticError):
        rest(feature)
    with pytest.raises(ReadoutError, match="ArithmeticError"):
        cut(extractor, "1.0", x)
    assert state(extractor) == before


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(ReadoutError, match="VGG19 is no classifier: it returns 512 × 2 × 2 per input, not one row"):
        cut(VGG19(None), "conv1_1", images(32))
    with pytest.raises(ReadoutError, match=r"'early\+late' joins several layers"):
        cut(JoinedLayers(TinyNet(), ["early", "late"]), "early+late", images())
    one = FeatureExtractor(nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.Linear(8, 1)), {"wide": "1"})
    with pytest.raises(ReadoutError, match="it returns 1 per input"):
        cut(one, "wide", images())


def test_answers_that_show_nothing_are_refused() -> None:
    with pytest.raises(ReadoutError, match="the same answer; choose an input that is not blank"):
        cut(residual(), "1", torch.zeros(1, 3, 8, 8))
    broken = residual()
    nn.init.constant_(broken.network[2][2].bias, torch.inf)  # type: ignore[index]
    with pytest.raises(ReadoutError, match="not finite"):
        cut(broken, "1", images())


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(ReadoutError, match=r"no submodule '1\.2'"):
        cut(residual(), "1.2", images())
