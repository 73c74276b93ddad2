from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.vgg import cfgs, make_layers
from torchvision.transforms.functional import normalize

from readout.common.errors import ReadoutError
from readout.extractors import VGG19
from readout.extractors.weights import NORMALIZED_VGG19, fetch

LAYERS = [f"conv{block}_{i}" for block, depth in enumerate((2, 2, 4, 4, 4), start=1) for i in range(1, depth + 1)]
TORCHVISION_INDICES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
NORMALIZED_KEYS = (2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51)
"""Keys of the 16 convolutions in the normalised file; key 0 is its preprocessing."""

State = Mapping[str, Tensor]


def image(side: int = 64) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def vgg() -> VGG19:
    return VGG19(weights="random")


@pytest.fixture(scope="module")
def torchvision_features() -> nn.Sequential:
    """The convolutional part of torchvision's untrained VGG19, with biases that are not 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return make_layers(cfgs["E"]).eval().requires_grad_(False)  # type: ignore[no-any-return]


@pytest.fixture
def torchvision_state(torchvision_features: nn.Sequential) -> dict[str, Tensor]:
    """As torchvision saves it, the classifier shrunk to a stub."""
    state = {f"features.{key}": value for key, value in torchvision_features.state_dict().items()}
    return state | {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}


def saved(state: object, folder: Path) -> str:
    path = folder / "weights.pth"
    torch.save(state, path)
    return str(path)


@torch.no_grad()
def reference(state: State, x: Tensor) -> dict[str, Tensor]:
    """Every layer before its ReLU, from the raw normalised state dict and nothing else."""
    x = F.conv2d(x, state["0.weight"], state["0.bias"])
    found = {}
    for layer, key in zip(LAYERS, NORMALIZED_KEYS, strict=True):
        if layer.endswith("_1") and layer != "conv1_1":
            x = F.max_pool2d(x, 2)
        found[layer] = F.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"], padding=1)
        x = found[layer].relu()
    return found


# Layers


def test_the_layers_are_the_16_convolutions_in_order(vgg: VGG19) -> None:
    assert list(vgg.layers) == LAYERS
    assert all(isinstance(vgg.network.get_submodule(path), nn.Conv2d) for path in vgg.layers.values())


def test_every_feature_is_bit_equal_to_the_whole_networks_before_the_relu(vgg: VGG19) -> None:
    seen: dict[str, Tensor] = {}
    hooks = [
        vgg.network.get_submodule(path).register_forward_hook(
            lambda _module, _args, output, layer=layer: seen.update({layer: output})
        )
        for layer, path in vgg.layers.items()
    ]
    with torch.no_grad():
        vgg.network(vgg.preprocess(image()))
    for hook in hooks:
        hook.remove()
    assert list(seen) == LAYERS
    for layer, activation in seen.items():
        # kept without a copy: a ReLU in place would have cut its negative values
        assert activation.min() < 0
        assert torch.equal(vgg.extract(image(), layer), activation)


def test_shapes_halve_with_every_block(vgg: VGG19) -> None:
    shapes = vgg.shapes(vgg.example(64))
    assert list(shapes) == LAYERS
    for layer, shape in shapes.items():
        block = int(layer[4])
        assert shape == (min(64 * 2 ** (block - 1), 512), 64 >> (block - 1), 64 >> (block - 1))


def test_depths_and_unknown_layers_go_by_the_public_names(vgg: VGG19) -> None:
    assert vgg.resolve(["depth:1", "depth:0"]) == ["conv1_1", "conv5_4"]
    with pytest.raises(ReadoutError, match=r"no layer 'conv3_5'\. Did you mean conv3_4"):
        vgg.resolve("conv3_5")


# Random weights


def test_random_weights_have_torchvisions_initialisation(vgg: VGG19) -> None:
    for layer, path in vgg.layers.items():
        convolution = vgg.network.get_submodule(path)
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.bias is not None
        assert convolution.bias.abs().max() == 0
        expected, count = (2 / (9 * convolution.out_channels)) ** 0.5, convolution.weight.numel()
        # The standard deviation of n numbers has itself one of 1/√(2n) of it; five of them.
        found = convolution.weight.double().std().item()
        assert found == pytest.approx(expected, rel=5 / (2 * count) ** 0.5), layer


def test_random_weights_see_inputs_as_torchvisions_do(vgg: VGG19) -> None:
    first = vgg.network.get_submodule("1")
    expected = first(normalize(image(32), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    torch.testing.assert_close(vgg.extract(image(32), "conv1_1"), expected)


# Weights by path


@pytest.mark.parametrize("prefix", ["features.", ""])
def test_a_torchvision_file_gives_torchvisions_features(
    torchvision_features: nn.Sequential, torchvision_state: dict[str, Tensor], tmp_path: Path, prefix: str
) -> None:
    state = {key.replace("features.", prefix): value for key, value in torchvision_state.items()}
    path = saved(state, tmp_path)
    vgg = VGG19(weights=path)
    assert vgg.weights_name == path
    x, start = normalize(image(32), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), 0
    for layer, index in zip(LAYERS, TORCHVISION_INDICES, strict=True):
        # torchvision's ReLU works in place, so its output is compared right at the convolution
        x, start = torchvision_features[start : index + 1](x), index + 1
        torch.testing.assert_close(vgg.extract(image(32), layer), x, rtol=1e-5, atol=1e-6)


def test_a_normalized_file_brings_its_own_preprocessing(vgg: VGG19, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {
        "0.weight": torch.randn(3, 3, 1, 1, generator=generator),
        "0.bias": torch.randn(3, generator=generator),
    }
    for path, key in zip(vgg.layers.values(), NORMALIZED_KEYS, strict=True):
        weight = vgg.network.get_parameter(f"{path}.weight")
        state |= {f"{key}.weight": weight, f"{key}.bias": torch.randn(len(weight), generator=generator)}
    loaded = VGG19(weights=saved(state, tmp_path))
    for layer, expected in reference(state, image()).items():
        torch.testing.assert_close(loaded.extract(image(), layer), expected, rtol=1e-5, atol=1e-5)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match=r"There is no weights file .*nowhere\.pth"):
        VGG19(weights=str(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)},
        {"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3), "layer1.0.bn1.bias": torch.zeros(64)},
        {"features.0.weight": torch.zeros(64, 3, 3, 3), "features.0.bias": torch.zeros(64)},
        {"state_dict": {"features.0.weight": torch.zeros(64, 3, 3, 3)}},
        [torch.zeros(3)],
    ],
    ids=["empty", "linear", "resnet", "short", "nested", "list"],
)
def test_a_file_of_something_else_is_one_sentence(state: object, tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match="state dict"):
        VGG19(weights=saved(state, tmp_path))


@pytest.mark.parametrize("config", ["A", "D"])
def test_a_smaller_vgg_is_refused(config: str, tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match="VGG19 has 16"):
        VGG19(weights=saved(make_layers(cfgs[config]).state_dict(), tmp_path))


@pytest.mark.parametrize("prefix", ["module.", "model.net."])
def test_a_wrapped_file_gives_the_same_network(
    prefix: str, torchvision_state: dict[str, Tensor], tmp_path: Path
) -> None:
    wrapped = {"state_dict": {prefix + key: value for key, value in torchvision_state.items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "wrapped.pth")
    same = VGG19(weights=str(tmp_path / "wrapped.pth")), VGG19(weights=saved(torchvision_state, tmp_path))
    assert len({extractor.fingerprint() for extractor in same}) == 1


def test_a_vgg_with_batch_norm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match="hold 32 numbered layers"):
        VGG19(weights=saved(make_layers(cfgs["E"], batch_norm=True).state_dict(), tmp_path))


def test_a_file_without_biases_is_one_sentence(torchvision_state: dict[str, Tensor], tmp_path: Path) -> None:
    state = {key: value for key, value in torchvision_state.items() if not key.endswith("bias")}
    with pytest.raises(ReadoutError, match="state dict"):
        VGG19(weights=saved(state, tmp_path))


def test_a_file_that_is_no_weights_at_all_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_text("not weights")
    with pytest.raises(ReadoutError, match="can't be read as weights"):
        VGG19(weights=str(tmp_path / "weights.pth"))


@pytest.mark.parametrize(
    "error", [URLError("no route to host"), OSError("connection reset"), RuntimeError("invalid hash value")]
)
def test_imagenet_weights_that_cannot_be_fetched_are_one_sentence(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    with pytest.raises(ReadoutError, match="could not fetch its VGG19 weights") as raised:
        VGG19(weights="imagenet")
    assert "weights: normalized" in str(raised.value)


# The real thing


@pytest.mark.real_weights
def test_the_normalized_weights_are_read_as_they_are_meant() -> None:
    state = torch.load(fetch(NORMALIZED_VGG19), map_location="cpu", weights_only=True)
    vgg = VGG19("normalized")
    assert vgg.weights_name == "normalized"
    # RGB in [0, 1] to BGR × 255 minus the means
    black, red = (vgg.network.get_submodule("0")(x.view(1, 3, 1, 1)).flatten() for x in torch.eye(4, 3)[[3, 0]])
    torch.testing.assert_close(black, -torch.tensor([103.939, 116.779, 123.68]), rtol=0, atol=0.01)
    torch.testing.assert_close(red - black, torch.tensor([0.0, 0.0, 255.0]), rtol=0, atol=0.01)
    for layer, expected in reference(state, image()).items():
        torch.testing.assert_close(vgg.extract(image(), layer), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_laying_out_keeps_features_and_fingerprint(device: str) -> None:
    extractor = VGG19(None)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before, fingerprint = extractor.extract(x, "conv3_1"), extractor.fingerprint()
    extractor.lay_out(torch.device(device))
    after = extractor.extract(x, "conv3_1")
    assert after.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    assert extractor.fingerprint() == fingerprint
    extractor.lay_out(torch.device("mps"))
    assert extractor.extract(x, "conv3_1").is_contiguous()
