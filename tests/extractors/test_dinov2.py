import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from readout.common.errors import ReadoutError
from readout.extractors.dinov2 import DINOv2
from readout.extractors.vgg import IMAGENET_MEAN, IMAGENET_STD

DEPTH = 4
LAYERS = ["embeddings", *(f"layer.{block}" for block in range(DEPTH))]
TINY: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 3,
    "image_size": 28,
    "patch_size": 7,
    "initializer_range": 0.2,  # large enough for the blocks to matter
}


def image(count: int = 2, height: int = 28, width: int = 28) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def save_tiny(folder: Path, registers: bool = False, **changes: Any) -> str:
    """A tiny model as `save_pretrained` writes it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = (
            Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**TINY | {"num_register_tokens": 2} | changes))
            if registers
            else Dinov2Model(Dinov2Config(**TINY | changes))
        )
        # as after training: layer norms, biases and special tokens hold values of their own
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    network.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def registers(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("registers"), registers=True)


@pytest.fixture(params=["plain", "registers"])
def weights(request: pytest.FixtureRequest) -> str:
    path: str = request.getfixturevalue(request.param)
    return path


@torch.no_grad()
def hidden_states(weights: str, x: Tensor) -> list[Tensor]:
    """What the library gives for normalised images."""
    model_class = Dinov2WithRegistersModel if "registers" in weights else Dinov2Model
    network = model_class.from_pretrained(weights).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    output = network((x - mean) / std, output_hidden_states=True)
    states = list(output.hidden_states)
    # the last hidden state is taken before the final norm
    torch.testing.assert_close(network.layernorm(states[-1]), output.last_hidden_state)
    return states


# Layers


@pytest.mark.parametrize(("height", "width"), [(28, 28), (42, 42), (14, 35)])
def test_every_layer_is_the_librarys_hidden_state(weights: str, height: int, width: int) -> None:
    extractor, x = DINOv2(weights), image(2, height, width)
    expected = hidden_states(weights, x)
    assert list(extractor.layers) == LAYERS
    tokens = 1 + (2 if "registers" in weights else 0) + (height // 7) * (width // 7)
    for layer, state in zip(LAYERS, expected, strict=True):
        feature = extractor.extract(x, layer)
        assert feature.shape == (2, tokens, 24)
        torch.testing.assert_close(feature, state, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(expected[1], expected[2], atol=0.1)


def test_quarter_depths_are_blocks_at_quarters(plain: str) -> None:
    assert DINOv2(plain).resolve("depth:0.25,0.5,0.75,1.0") == ["layer.0", "layer.1", "layer.2", "layer.3"]


def test_shapes_are_tokens_by_width(weights: str) -> None:
    extractor = DINOv2(weights)
    tokens = 1 + (2 if "registers" in weights else 0) + 16
    assert extractor.shapes(extractor.example(28)) == dict.fromkeys(LAYERS, (tokens, 24))


@pytest.mark.parametrize("shape", [(1, 3, 30, 28), (1, 3, 28, 32), (1, 1, 28, 28), (3, 28, 28)])
def test_images_that_do_not_fit_are_one_sentence(plain: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ReadoutError, match=r"patches of 7×7 pixels.*choose another image size"):
        DINOv2(plain).extract(torch.zeros(shape), "embeddings")


# Normalisation and names


def test_a_folders_own_normalisation_is_taken(plain: str, tmp_path: Path) -> None:
    folder = Path(save_tiny(tmp_path))
    said = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.4, 0.3]}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    own, imagenet = DINOv2(str(folder)), DINOv2(plain)
    torch.testing.assert_close(own.mean.flatten(), torch.tensor(said["image_mean"]))
    torch.testing.assert_close(own.std.flatten(), torch.tensor(said["image_std"]))
    torch.testing.assert_close(imagenet.mean.flatten(), torch.tensor(IMAGENET_MEAN))
    assert own.fingerprint() != imagenet.fingerprint()
    (folder / "preprocessor_config.json").write_text("{")
    with pytest.raises(ReadoutError, match="not valid JSON"):
        DINOv2(str(folder))


@pytest.mark.parametrize(("registers", "name"), [(False, "DINOv2-small"), (True, "DINOv2-small-registers")])
def test_the_name_says_the_size(tmp_path: Path, registers: bool, name: str) -> None:
    folder = save_tiny(tmp_path, registers, hidden_size=384, num_hidden_layers=1, num_attention_heads=6)
    extractor = DINOv2(folder)
    assert extractor.name == name
    assert extractor.weights_name == folder


# Weights


def test_a_configuration_is_enough_for_random_weights(plain: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((Path(plain) / "config.json").read_text())
    random = DINOv2(str(tmp_path), pretrained=False)
    assert random.fingerprint() == DINOv2(plain, pretrained=False).fingerprint()
    with pytest.raises(ReadoutError, match=r"can't be loaded \(OSError: Error no file named .*model.safetensors"):
        DINOv2(str(tmp_path))


def test_the_number_of_heads_is_part_of_the_fingerprint(plain: str, tmp_path: Path) -> None:
    for file in Path(plain).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_attention_heads": 4}))
    assert DINOv2(str(tmp_path)).fingerprint() != DINOv2(plain).fingerprint()


def test_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ReadoutError, match="holds a bert model; DINOv2 needs one such as"):
        DINOv2(str(tmp_path))


def test_a_folder_without_a_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match=r"holds no config\.json"):
        DINOv2(str(tmp_path))


def test_an_id_in_the_hubs_cache_is_found_offline(plain: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository = tmp_path / "models--facebook--dinov2-giant"
    snapshot = repository / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    for file in Path(plain).iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    extractor = DINOv2("facebook/dinov2-giant")
    assert extractor.fingerprint() == DINOv2(plain).fingerprint()
    assert extractor.weights_name == "facebook/dinov2-giant"
