from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor
from tests.tiny import Identity, TinyNet


def image(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@contextmanager
def counting(network: nn.Module) -> Iterator[Counter[str]]:
    """How often each leaf module ran."""
    runs: Counter[str] = Counter()
    hooks = []
    for path, module in network.named_modules():
        if path and not any(module.children()):

            def count(_module: nn.Module, _args: Any, path: str = path) -> None:
                runs[path] += 1

            hooks.append(module.register_forward_pre_hook(count))
    yield runs
    for hook in hooks:
        hook.remove()


class OtherNet(TinyNet):
    """The same network under another class."""


class Branches(nn.Module):
    """Submodules that give a tuple, never run, and run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(3, 3, batch_first=True)
        self.unused = nn.Linear(3, 3)
        self.shared = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.recurrent(x)[0]
        result: Tensor = self.shared(self.shared(features).relu_())
        return result


def deep(*names: str) -> FeatureExtractor:
    """Five linear layers."""
    network = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
    return FeatureExtractor(network, dict(zip(names or "abcde", "01234", strict=True)))


# Running up to a layer


@pytest.mark.parametrize(("layer", "last"), [("early", 0), ("middle", 2), ("late", 4)])
def test_nothing_after_the_layer_runs(layer: str, last: int) -> None:
    extractor = TinyNet()
    with counting(extractor.network) as runs:
        extractor.extract(image(), layer)
    assert runs == {str(path): 1 for path in range(last + 1)}


@pytest.mark.parametrize("layer", ["early", "middle", "late"])
def test_a_feature_is_what_the_whole_network_gives_there(layer: str) -> None:
    extractor = TinyNet()
    seen: dict[str, Tensor] = {}
    module = extractor.network.get_submodule(extractor.layers[layer])
    with torch.no_grad():
        hook = module.register_forward_hook(lambda _module, _args, output: seen.update(out=output.clone()))
        extractor.network(extractor.preprocess(image()))
        hook.remove()
    assert torch.equal(extractor.extract(image(), layer), seen["out"])


def test_extracting_leaves_no_hook_behind() -> None:
    extractor = TinyNet()
    extractor.extract(image(), "early")
    with counting(extractor.network) as runs:
        extractor.network(image())
    assert sum(runs.values()) == 5
    assert not any(module._forward_hooks for module in extractor.modules())


def test_a_network_that_breaks_leaves_no_hook_behind() -> None:
    extractor = TinyNet()
    with pytest.raises(RuntimeError):
        extractor.extract(torch.zeros(1, 5, 8, 8), "late")
    assert not any(module._forward_hooks for module in extractor.modules())


def test_inputs_are_normalised_channel_by_channel_and_left_untouched() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    extractor = FeatureExtractor(nn.Sequential(nn.ReLU(inplace=True)), {"relu": "0"}, mean, std)
    x = image()
    before = x.clone()
    expected = [((x[:, channel] - mean[channel]) / std[channel]).clamp_min(0) for channel in range(3)]
    torch.testing.assert_close(extractor.extract(x, "relu"), torch.stack(expected, 1))
    assert torch.equal(x, before)


def test_without_normalisation_the_input_is_the_networks() -> None:
    x = torch.rand(2, 5, generator=torch.Generator().manual_seed(0)).view(2, 5, 1, 1)
    assert torch.equal(Identity().extract(x, "identity"), x)


def test_an_in_place_module_after_the_layer_does_not_reach_the_feature() -> None:
    network = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    x = -image()
    assert torch.equal(FeatureExtractor(network, {"before": "0"}).extract(x, "before"), x)


def test_a_layer_that_never_runs_is_named() -> None:
    extractor = FeatureExtractor(Branches(), {"unused": "unused"})
    with pytest.raises(ReadoutError, match="'unused' of FeatureExtractor never runs"):
        extractor.extract(torch.zeros(1, 2, 3), "unused")


def test_of_a_tuple_the_first_tensor_is_the_feature() -> None:
    branches = Branches()
    extractor = FeatureExtractor(branches, {"recurrent": "recurrent"})
    x = torch.rand(1, 2, 3)
    assert torch.equal(extractor.extract(x, "recurrent"), branches.recurrent(x)[0])


def test_a_layer_that_gives_no_tensor_is_named() -> None:
    class Mapping(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"out": x}

    extractor = FeatureExtractor(nn.Sequential(Mapping()), {"mapping": "0"})
    with pytest.raises(ReadoutError, match="'mapping' returns a dict, not a tensor"):
        extractor.extract(torch.zeros(1, 2, 3), "mapping")


# Frozen


@pytest.mark.parametrize("mode", [True, False])
def test_training_mode_is_never_entered(mode: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    extractor = FeatureExtractor(network)
    before = {name: value.clone() for name, value in extractor.state_dict().items()}
    nn.Sequential(extractor).train(mode)
    assert extractor.train(mode) is extractor
    assert not any(module.training for module in extractor.modules())
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    assert torch.equal(extractor.extract(image(), "2"), extractor.extract(image(), "2"))
    assert all(torch.equal(before[name], value) for name, value in extractor.state_dict().items())


def test_a_network_given_in_training_mode_is_frozen() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Dropout()).train()
    FeatureExtractor(network)
    assert not network[1].training
    assert not network[0].weight.requires_grad


# Names


@pytest.mark.parametrize(
    ("depth", "layer"),
    [
        *(("0", "a"), ("0.0", "a"), ("0.1", "a"), ("0.124", "a"), ("0.126", "b"), ("0.25", "b")),
        *((".5", "c"), ("0.75", "d"), ("0.9", "e"), ("1", "e"), ("1.0", "e")),
    ],
)
def test_a_depth_is_the_nearest_layer(depth: str, layer: str) -> None:
    assert deep().resolve(f"depth:{depth}") == [layer]


@pytest.mark.parametrize("depth", ["", "-0.1", "1.1", "2", "half", "0.5.5", "1e-1", "nan"])
def test_a_depth_outside_0_to_1_is_refused(depth: str) -> None:
    with pytest.raises(ReadoutError, match=r"is not a depth; write numbers from 0 to 1, such as 'depth:0\.25'"):
        deep().resolve(f"depth:{depth}")


def test_an_unknown_layer_lists_the_near_matches() -> None:
    extractor = deep("conv1_1", "conv1_2", "conv2_1", "fc6", "fc7")
    for ask in (lambda: extractor.resolve(["conv1_1", "conv1_3"]), lambda: extractor.extract(image(), "conv1_3")):
        with pytest.raises(ReadoutError, match=r"no layer 'conv1_3'\. Did you mean conv1_2 or conv1_1") as raised:
            ask()
        assert "fc6" not in str(raised.value)
        assert "layers --model FeatureExtractor" in str(raised.value)


def test_an_unknown_layer_like_no_other_suggests_none() -> None:
    with pytest.raises(ReadoutError, match="no layer 'zzz'") as raised:
        TinyNet().resolve("zzz")
    assert "Did you mean" not in str(raised.value)


def test_no_layers_at_all_is_an_error() -> None:
    with pytest.raises(ReadoutError, match="No layers were asked for"):
        TinyNet().resolve([])


def test_a_layer_that_points_nowhere_is_refused_at_once() -> None:
    network = nn.Sequential(nn.Sequential(nn.Linear(3, 3)))
    with pytest.raises(ReadoutError, match=r"Layer 'first' of FeatureExtractor points at '0\.1'.* Did you mean 0\.0"):
        FeatureExtractor(network, {"first": "0.1"})


# Shapes


def test_shapes_are_those_of_the_features_from_one_pass() -> None:
    extractor = TinyNet()
    with counting(extractor.network) as runs:
        shapes = extractor.shapes(extractor.example(9))
    assert set(runs.values()) == {1}
    assert list(shapes) == ["early", "middle", "late"]
    for layer, shape in shapes.items():
        assert shape == extractor.extract(extractor.example(9), layer).shape[1:]
    assert not any(module._forward_hooks for module in extractor.modules())


def test_shapes_leave_out_layers_that_never_run() -> None:
    extractor = FeatureExtractor(Branches(), {"unused": "unused", "shared": "shared"})
    assert extractor.shapes(torch.zeros(1, 2, 3)) == {"shared": (2, 3)}


# Fingerprints


def test_any_change_of_the_extractor_changes_its_fingerprint() -> None:
    def build(mean: float = 0.0, std: float = 1.0, layer: str = "0", **options: Any) -> FeatureExtractor:
        convolution = nn.Conv2d(3, 3, 3, bias=False, **options)
        nn.init.constant_(convolution.weight, 0.5)
        return FeatureExtractor(nn.Sequential(convolution, nn.ReLU()), {"layer": layer}, [mean], [std])

    nudged = build()
    weight = next(nudged.parameters())
    weight.data[0, 0, 0, 0] = torch.nextafter(weight.data[0, 0, 0, 0], torch.tensor(1.0))
    variants = [build(), nudged, build(mean=0.1), build(std=2.0), build(layer="1"), build(padding=1), build(stride=2)]
    variants += [build(padding_mode="reflect", padding=1), TinyNet(0), TinyNet(1), OtherNet(0)]
    assert len({extractor.fingerprint() for extractor in variants}) == len(variants)


def test_classes_of_one_name_in_two_modules_have_different_fingerprints() -> None:
    namesake = type("TinyNet", (TinyNet,), {"__module__": "elsewhere"})
    assert repr(namesake()) == repr(TinyNet())
    assert namesake().fingerprint() != TinyNet().fingerprint()


def test_running_statistics_are_part_of_the_fingerprint() -> None:
    extractor = FeatureExtractor(nn.Sequential(nn.BatchNorm2d(3)))
    before = extractor.fingerprint()
    extractor.network.get_buffer("0.running_mean").add_(1)
    assert extractor.fingerprint() != before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_weight_is_named(value: float) -> None:
    extractor = TinyNet()
    next(iter(extractor.network.children())).get_parameter("bias").data[3] = value
    with pytest.raises(ReadoutError, match=r"1 weights of TinyNet are NaN or infinite .*'network\.0\.bias'"):
        extractor.fingerprint()


def test_a_network_that_views_its_features_keeps_its_layout() -> None:
    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.convolution(x)
            return x.view(len(x), -1)

    extractor = FeatureExtractor(nn.Sequential(Viewing(), nn.Identity()), {"flat": "1"})
    extractor.lay_out(torch.device("cpu"))
    assert extractor.extract(torch.rand(2, 3, 8, 8), "flat").shape == (2, 144)
