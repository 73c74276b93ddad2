from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import safetensors.torch
import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.models import _builder, save_for_hf
from torch import Tensor, nn
from torchvision.transforms.functional import normalize

from readout import cli
from readout.common.errors import ReadoutError
from readout.extractors.timm import TimmModel, feature_layers

LAYERS = {
    "test_vit": [f"blocks.{i}" for i in range(6)],
    "test_resnet": ["act1", "layer1", "layer2", "layer3", "layer4"],
    "test_convnext": [f"stages.{i}" for i in range(4)],
    "test_efficientnet": [f"blocks.{i}" for i in range(5)],
}
"""timm's own small models, one of each kind."""

NAMES = list(LAYERS)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_HUB_OFFLINE=1 with nothing in the cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def images(side: int = 160, count: int = 3) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def library_model(name: str, seed: int = 3, **options: Any) -> nn.Module:
    """The model as timm makes it by itself."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(name, **options).eval()


def saved(name: str, folder: Path, suffix: str = ".pth") -> str:
    path, state = folder / f"{name}{suffix}", library_model(name).state_dict()
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


@torch.no_grad()
def hooked(network: nn.Module, x: Tensor, layers: list[str]) -> dict[str, Tensor]:
    """What the layers give in the network's whole forward pass."""
    seen: dict[str, Tensor] = {}
    hooks = [
        network.get_submodule(layer).register_forward_hook(
            lambda _module, _args, output, layer=layer: seen.update({layer: output.clone()})
        )
        for layer in layers
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    return seen


# Layers


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", NAMES)
def test_every_layer_is_the_whole_models_activation(name: str, suffix: str, tmp_path: Path) -> None:
    path = saved(name, tmp_path, suffix)
    extractor = TimmModel(name, weights=path)
    reference = library_model(name)
    data = resolve_model_data_config(reference)
    expected = hooked(reference, normalize(images(), data["mean"], data["std"]), LAYERS[name])
    assert list(extractor.layers) == list(expected)
    for layer, activation in expected.items():
        torch.testing.assert_close(extractor.extract(images(), layer), activation, rtol=1e-6, atol=1e-6)
    assert extractor.weights_name == path


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("test_vit", [(101, 64)] * 6),
        ("test_resnet", [(32, 80, 80), (32, 40, 40), (48, 20, 20), (192, 10, 10), (96, 5, 5)]),
    ],
)
def test_shapes_hold_all_tokens_and_no_batch(name: str, shapes: list[tuple[int, ...]]) -> None:
    extractor = TimmModel(name, weights=None)
    assert list(extractor.shapes(extractor.example(160)).values()) == shapes


def test_modules_that_give_several_outputs_count_with_the_first() -> None:
    extractor = TimmModel("crossvit_9_240", weights=None)
    raw: list[Any] = []
    extractor.network.get_submodule("blocks.0").register_forward_hook(lambda _module, _args, output: raw.append(output))
    feature = extractor.extract(images(240, 2), "blocks.0")
    assert isinstance(raw[0], list)
    assert torch.equal(feature, raw[0][0])


class Staged(nn.Module):
    """A model that describes no features, whose stages are lists."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.ModuleList([nn.Identity(), nn.Identity()]), nn.Identity()])
        self.blocks = nn.Sequential(nn.Identity())


def test_a_model_without_feature_info_is_known_by_its_stages() -> None:
    assert list(feature_layers(Staged())) == ["stages.0.0", "stages.0.1", "stages.1"]
    assert not feature_layers(nn.Identity())


# Sizes of images


def test_positions_are_resized_as_timm_does(tmp_path: Path) -> None:
    path = saved("test_vit", tmp_path)
    extractor = TimmModel("test_vit", weights=path, image_size=64)
    assert extractor.example(224).shape == (1, 3, 64, 64)
    overlay = {"file": path, "custom_load": False}
    reference = library_model("test_vit", pretrained=True, pretrained_cfg_overlay=overlay, img_size=64)
    x = images(64)
    expected = hooked(reference, normalize(x, [0.5] * 3, [0.5] * 3), LAYERS["test_vit"])
    for layer, activation in expected.items():
        assert activation.shape == (3, 17, 64)
        torch.testing.assert_close(extractor.extract(x, layer), activation, rtol=1e-6, atol=1e-6)


def test_a_convolutional_network_takes_any_size() -> None:
    extractor = TimmModel("test_resnet", weights=None)
    assert extractor.extract(images(48), "layer2").shape == (3, 48, 6, 6)
    assert extractor.example(48).shape == (1, 3, 48, 48)


@pytest.mark.parametrize(
    ("name", "layer", "side"),
    # one is known to take its own size only, another finds out when it runs
    [("test_vit", "blocks.0", 64), ("vgg11", "features.20", 16)],
)
def test_images_of_the_wrong_size_are_one_sentence(name: str, layer: str, side: int) -> None:
    extractor = TimmModel(name, weights=None)
    with pytest.raises(ReadoutError, match=f"does not accept images of {side} × {side} pixels") as raised:
        extractor.extract(images(side), layer)
    assert "\n" not in str(raised.value)
    if name == "vgg11":
        with pytest.raises(ReadoutError, match=f"does not accept images of {side} × {side} pixels"):
            extractor.shapes(images(side))


def test_a_size_that_cannot_be_built_is_one_sentence() -> None:
    with pytest.raises(ReadoutError, match=r"for images of 150 pixels \(.*\); set another `image_size`"):
        TimmModel("nest_tiny", weights=None, image_size=150)  # levels that don't divide it


# Weights


def test_the_name_leaves_out_the_tag_of_weights_that_are_not_there() -> None:
    assert TimmModel("test_vit.r160_in1k", weights=None).name == "timm test_vit"


def test_classes_are_those_of_pretrained_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert TimmModel("test_vit", weights=None).classes is None
    monkeypatch.setattr(_builder, "load_pretrained", lambda *_, **__: None)
    classes = TimmModel("test_vit").classes
    assert classes is not None
    assert (len(classes), classes[0]) == (1000, "n01440764")
    # a model from a hub names its own, and may have 1,000 others
    for names in (None, ["cat", "dog"]):
        network = timm.create_model("test_vit", num_classes=2 if names else 1000)
        save_for_hf(network, str(tmp_path), {"label_names": names} if names else {})
        assert TimmModel(f"local-dir:{tmp_path}").classes == names


def test_normalisation_is_that_of_the_tag() -> None:
    tags = ("vit_tiny_patch16_224.augreg_in21k", "vit_base_patch16_clip_224.openai")
    half, clip = (timm.get_pretrained_cfg(tag) for tag in tags)
    assert half is not None
    assert clip is not None
    assert half.mean != clip.mean
    extractor = TimmModel(tags[0], weights=None)
    assert tuple(extractor.mean.flatten().tolist()) == half.mean


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["resnet18", "resnet18.a1_in1k"])
def test_weights_that_cannot_be_had_are_one_sentence(name: str) -> None:
    with pytest.raises(ReadoutError, match=f"timm could not fetch the weights of {name}") as raised:
        TimmModel(name)
    sentence = str(raised.value)
    assert "model.safetensors of timm/resnet18.a1_in1k" in sentence
    assert "`weights: PATH`" in sentence
    assert "\n" not in sentence


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "resnet19"}, r"no model 'resnet19'\. Did you mean resnet1"),
        ({"name": "resnet18.a1"}, r"no weights 'resnet18\.a1'; it has resnet18\.a1_in1k"),
        ({"name": "resnet18", "weights": "nowhere.pth"}, "There is no weights file 'nowhere.pth'"),
        ({"name": "resnet18", "weights": "nowhere.safetensors"}, "There is no weights file 'nowhere.safetensors'"),
        ({"name": "hf-hub:nobody/nothing"}, "could not fetch the weights of hf-hub:nobody/nothing"),
    ],
)
def test_what_does_not_exist_is_one_sentence(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(ReadoutError, match=expected):
        TimmModel(**arguments)


@pytest.mark.usefixtures("offline")
def test_a_model_that_timm_has_no_weights_of_is_not_left_random() -> None:
    (name, *_) = [name for name in timm.list_models("resnet*") if not timm.is_model_pretrained(name)]
    with pytest.raises(ReadoutError, match=r"No pretrained weights exist.*get its state dict"):
        TimmModel(name)


def test_a_state_dict_of_something_else_is_one_sentence(tmp_path: Path) -> None:
    for state, expected in (({"a": torch.zeros(2)}, "does not fit timm's test_vit"), ({}, "holds no weights")):
        torch.save(state, tmp_path / "weights.pth")
        with pytest.raises(ReadoutError, match=expected) as raised:
            TimmModel("test_vit", weights=str(tmp_path / "weights.pth"))
        assert "\n" not in str(raised.value)
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(ReadoutError, match="can't be read as safetensors"):
        TimmModel("test_vit", weights=str(tmp_path / "torn.safetensors"))


@pytest.mark.parametrize("wrap", ["{}", "module.{}", "model.backbone.{}"])
def test_a_wrapped_checkpoint_gives_the_same_network(wrap: str, tmp_path: Path) -> None:
    network = timm.create_model("test_resnet")
    state = {wrap.format(key): value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "weights.pth")
    extractor = TimmModel("test_resnet", weights=str(tmp_path / "weights.pth"))
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in extractor.network.state_dict().items())


# Command line


@pytest.mark.usefixtures("offline")
def test_missing_weights_end_the_command_with_the_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["layers", "--model", "TimmModel"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert line.startswith("error: timm could not fetch the weights of resnet50")
