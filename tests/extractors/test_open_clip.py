import json
import logging
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import open_clip
import pytest
import torch
from torch import Tensor, nn

from readout import cli
from readout.common.errors import ReadoutError
from readout.extractors.open_clip import OpenCLIP

TEXT = {"context_length": 8, "vocab_size": 32, "width": 16, "heads": 1, "layers": 1}
VIT = {"image_size": 32, "patch_size": 8, "layers": 4, "width": 32, "head_width": 16}
TOWERS: dict[str, dict[str, Any]] = {
    "tiny-ViT": VIT,
    "tiny-ViT-quickgelu": VIT,
    "tiny-RN": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    "tiny-timm-ViT": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear"},
    "tiny-timm-ConvNeXt": {"image_size": 160, "timm_model_name": "test_convnext", "timm_proj": "linear"},
}
MODULES = {
    "tiny-ViT": {"embeddings": "ln_pre", **{f"blocks.{i}": f"transformer.resblocks.{i}" for i in range(4)}},
    "tiny-RN": {"stem": "avgpool", **{f"layer{i}": f"layer{i}" for i in range(1, 5)}, "attnpool": "attnpool"},
    "tiny-timm-ViT": {f"blocks.{i}": f"trunk.blocks.{i}" for i in range(6)},
    "tiny-timm-ConvNeXt": {f"stages.{i}": f"trunk.stages.{i}" for i in range(4)},
}
"""Where each layer is in open_clip's tower."""

NAMES = list(MODULES)
OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module", autouse=True)
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Models of the real classes, small enough to test with, under names of their own."""
    folder = tmp_path_factory.mktemp("model_configs")
    for name, tower in TOWERS.items():
        config = {"embed_dim": 16, "vision_cfg": tower, "text_cfg": TEXT, "quick_gelu": name.endswith("quickgelu")}
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HF_HUB_OFFLINE=1 with nothing in the cache."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def images(extractor: OpenCLIP, count: int = 3) -> Tensor:
    return torch.rand(count, 3, *extractor.image_size, generator=torch.Generator().manual_seed(0))


def normalised(x: Tensor, mean: tuple[float, ...] = OPENAI_MEAN, std: tuple[float, ...] = OPENAI_STD) -> Tensor:
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def whole_model(name: str, seed: int = 3, **options: Any) -> Any:
    """Both towers, as open_clip makes them by itself."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return open_clip.create_model(name, **options).eval()


def checkpoint(name: str, folder: Path) -> str:
    path = folder / f"{name}.pt"
    torch.save(whole_model(name).state_dict(), path)
    return str(path)


@torch.no_grad()
def hooked(visual: nn.Module, x: Tensor, paths: dict[str, str]) -> dict[str, Tensor]:
    """What the modules give in the tower's whole forward pass."""
    seen: dict[str, Tensor] = {}
    hooks = [
        visual.get_submodule(path).register_forward_hook(
            lambda _module, _args, output, layer=layer: seen.update({layer: output.clone()})
        )
        for layer, path in paths.items()
    ]
    visual(x)
    for hook in hooks:
        hook.remove()
    return seen


# Layers


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_is_the_whole_models_activation(name: str, tmp_path: Path) -> None:
    path = checkpoint(name, tmp_path)
    extractor = OpenCLIP(name, weights=path)
    x = images(extractor)
    expected = hooked(whole_model(name, seed=5, pretrained=path).visual, normalised(x), MODULES[name])
    assert list(extractor.layers) == list(expected)
    for layer, activation in expected.items():
        torch.testing.assert_close(extractor.extract(x, layer), activation, rtol=1e-6, atol=1e-6)
    assert extractor.weights_name == path


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("tiny-ViT", [(17, 32)] * 5),
        ("tiny-RN", [(8, 16, 16), (32, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2), (16,)]),
        ("tiny-timm-ViT", [(101, 64)] * 6),
        ("tiny-timm-ConvNeXt", [(24, 40, 40), (32, 20, 20), (48, 10, 10), (64, 5, 5)]),
    ],
)
def test_shapes_hold_all_tokens_and_no_batch(name: str, shapes: list[tuple[int, ...]]) -> None:
    extractor = OpenCLIP(name, weights=None)
    assert list(extractor.shapes(extractor.example(224)).values()) == shapes


def test_blocks_that_run_tokens_first_give_the_same_rows() -> None:
    extractor = OpenCLIP("tiny-ViT", weights=None)
    x = images(extractor)
    expected = {layer: extractor.extract(x, layer) for layer in extractor.layers}
    transformer = extractor.network.get_submodule("transformer")
    transformer.batch_first = False  # type: ignore[assignment]
    for module in transformer.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.batch_first = False
    raw = hooked(extractor.network, extractor.preprocess(x), {"block": "transformer.resblocks.0"})["block"]
    assert raw.shape == (17, 3, 32)
    for layer, feature in expected.items():
        torch.testing.assert_close(extractor.extract(x, layer), feature, rtol=1e-5, atol=1e-6)


def test_the_text_tower_is_dropped() -> None:
    parameters = [name for name, _ in OpenCLIP("tiny-ViT", weights=None).named_parameters()]
    assert parameters
    assert not [name for name in parameters if "text" in name or "token_embedding" in name]


def test_quarter_depths_are_quarters_of_the_blocks() -> None:
    extractor = OpenCLIP("tiny-ViT", weights=None)
    assert extractor.resolve("depth:0,0.25,0.5,1.0") == ["embeddings", "blocks.0", "blocks.1", "blocks.3"]


# Sizes of images


@pytest.mark.parametrize("name", ["tiny-ViT", "tiny-timm-ViT"])
def test_positions_are_resized_as_open_clip_does(name: str, tmp_path: Path) -> None:
    path = checkpoint(name, tmp_path)
    extractor = OpenCLIP(name, weights=path, image_size=48)
    assert extractor.image_size == (48, 48)
    x = images(extractor)
    reference = whole_model(name, pretrained=path, force_image_size=48).visual
    for layer, activation in hooked(reference, normalised(x), MODULES[name]).items():
        torch.testing.assert_close(extractor.extract(x, layer), activation, rtol=1e-6, atol=1e-6)


def test_a_resnet_keeps_its_stages_at_other_sizes(tmp_path: Path) -> None:
    path = checkpoint("tiny-RN", tmp_path)
    extractor = OpenCLIP("tiny-RN", weights=path, image_size=96)
    assert "attnpool" not in extractor.layers
    x = images(extractor)
    visual = whole_model("tiny-RN", pretrained=path).visual
    with torch.no_grad():
        torch.testing.assert_close(
            extractor.extract(x, "layer2"),
            visual.layer2(visual.layer1(visual.stem(normalised(x)))),
            rtol=1e-6,
            atol=1e-6,
        )
    assert list(OpenCLIP("tiny-RN", weights=None, image_size=64).layers) == list(MODULES["tiny-RN"])


@pytest.mark.parametrize("name", NAMES)
def test_images_of_another_size_are_one_sentence(name: str) -> None:
    extractor = OpenCLIP(name, weights=None)
    with pytest.raises(ReadoutError, match=r"does not accept images of 40 × 40 pixels.*built for .*`image_size`"):
        extractor.extract(torch.zeros(1, 3, 40, 40), next(iter(extractor.layers)))


def test_patches_must_tile_the_image() -> None:
    with pytest.raises(ReadoutError, match=r"image_size is 35, .*set it to 32"):
        OpenCLIP("tiny-ViT", weights=None, image_size=35)


# Weights


def test_loading_moves_no_global_state_and_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = checkpoint("tiny-ViT", tmp_path)
    caplog.clear()
    level, handlers, state = logging.getLogger().level, list(logging.getLogger().handlers), torch.get_rng_state()
    OpenCLIP("tiny-ViT", weights=path)
    OpenCLIP("tiny-ViT", weights=None)
    assert not caplog.records
    assert (logging.getLogger().level, logging.getLogger().handlers) == (level, handlers)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_tag_decides_activation_and_normalisation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # open_clip itself runs ViT-L-14 with plain GELU, whichever weights it is given
    tag = {"hf_hub": "a/b/", "quick_gelu": True, "mean": (0.5, 0.5, 0.5), "std": (0.4, 0.4, 0.4)}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda _name, weights: tag if weights == "quick" else {})
    path = checkpoint("tiny-ViT", tmp_path)
    tagged, plain = OpenCLIP("tiny-ViT", weights="quick", file=path), OpenCLIP("tiny-ViT", weights=path)
    assert tagged.weights_name == "quick"
    x = images(tagged)
    quick = whole_model("tiny-ViT-quickgelu", pretrained=path).visual
    expected = hooked(quick, normalised(x, (0.5, 0.5, 0.5), (0.4, 0.4, 0.4)), MODULES["tiny-ViT"])
    torch.testing.assert_close(tagged.extract(x, "blocks.3"), expected["blocks.3"], rtol=1e-6, atol=1e-6)
    assert (
        len({tagged.fingerprint(), plain.fingerprint(), OpenCLIP("tiny-ViT-quickgelu", weights=path).fingerprint()})
        == 3
    )


def test_openais_own_tags_ask_for_quick_gelu() -> None:
    # what the sweep of clip_dip.yaml rests on
    tag = open_clip.get_pretrained_cfg("ViT-L-14", "openai")
    assert tag["quick_gelu"]
    assert (tag["mean"], tag["std"]) == (OPENAI_MEAN, OPENAI_STD)


@pytest.mark.usefixtures("offline")
def test_weights_that_cannot_be_had_are_one_sentence() -> None:
    with pytest.raises(ReadoutError, match="could not load the weights 'openai' of ViT-L-14") as raised:
        OpenCLIP("ViT-L/14", weights="openai")
    sentence = str(raised.value)
    assert "open_clip_model.safetensors of timm/vit_large_patch14_clip_224.openai" in sentence
    assert "`weights: PATH`" in sentence
    assert "\n" not in sentence


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "ViT-L-41"}, r"no model 'ViT-L-41'\. Did you mean ViT-L-1"),
        ({"name": "ViT-L-14", "weights": "openia"}, r"no weights 'openia' for ViT-L-14.*Did you mean openai"),
        ({"name": "tiny-ViT", "weights": "nowhere/weights.pt"}, "no such file.*Its tags: none"),
        ({"name": "tiny-ViT", "weights": "nowhere.pt", "file": "x.pt"}, "needs the tag of its weights"),
        ({"name": "ViT-L-14", "weights": "openai", "file": "nowhere.pt"}, "no weights file 'nowhere.pt'"),
        ({"name": "hf-hub:nobody/nothing"}, "comes with its own weights; set `weights: own`"),
        ({"name": "hf-hub:nobody/nothing", "weights": "own"}, "could not load hf-hub:nobody/nothing"),
        ({"name": "hf-hub:nobody/nothing", "weights": "own", "image_size": 32}, "could not load hf-hub:nobody/nothing"),
        ({"name": "local-dir:nowhere", "weights": "own"}, "could not load local-dir:nowhere"),
    ],
)
def test_what_does_not_exist_is_one_sentence(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(ReadoutError, match=expected):
        OpenCLIP(**arguments)


@pytest.mark.parametrize("content", ["another model", "text", "empty"])
def test_a_file_of_something_else_is_one_sentence(content: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    if content == "text":
        path.write_text("not weights")
    else:
        torch.save({} if content == "empty" else whole_model("tiny-RN").state_dict(), path)
    with pytest.raises(ReadoutError, match="does not fit open_clip's tiny-ViT") as raised:
        OpenCLIP("tiny-ViT", weights=str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("whole", [True, False])
def test_a_local_folder_brings_its_weights_and_normalisation(whole: bool, tmp_path: Path) -> None:
    config = {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": TEXT}
    preprocessing = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}))
    if not whole:
        # open_clip would go on with random weights
        with pytest.raises(ReadoutError, match="could not load local-dir"):
            OpenCLIP(f"local-dir:{tmp_path}", weights="own")
        return
    model = whole_model("tiny-ViT")
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    extractor = OpenCLIP(f"local-dir:{tmp_path}", weights="own")
    x = images(extractor)
    expected = hooked(model.visual, (x - 0.5) / 0.25, MODULES["tiny-ViT"])
    torch.testing.assert_close(extractor.extract(x, "blocks.3"), expected["blocks.3"], rtol=1e-6, atol=1e-6)
    assert extractor.weights_name == "own"


# Command line


@pytest.mark.usefixtures("offline")
def test_missing_weights_end_the_command_with_the_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["layers", "--model", "OpenCLIP"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert line.startswith("error: open_clip could not load the weights 'openai' of ViT-L-14")
