import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.extractors.sdxl_vae import SDXLVAE

LAYERS = ["conv_in", "down_blocks.0", "down_blocks.1", "down_blocks.2", "mid_block", "latent_mean"]


def image(count: int = 2, height: int = 16, width: int = 24) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def save_tiny(folder: Path, **changes: Any) -> str:
    """A tiny autoencoder as `save_pretrained` writes it; 4-fold downsampling."""
    options = {
        "block_out_channels": (8, 8, 16),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "norm_num_groups": 4,
        "scaling_factor": 0.13025,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        vae: Any = AutoencoderKL(**options | changes)
        vae.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def with_quant(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("with_quant"))


@pytest.fixture(scope="module")
def without_quant(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("without_quant"), use_quant_conv=False, use_post_quant_conv=False)


@pytest.fixture(params=["with_quant", "without_quant"])
def weights(request: pytest.FixtureRequest) -> str:
    path: str = request.getfixturevalue(request.param)
    return path


@torch.no_grad()
def reference(weights: str, x: Tensor) -> dict[str, Tensor]:
    """Every stage as the library's own encoder runs it."""
    vae = AutoencoderKL.from_pretrained(weights).eval()
    found: dict[str, Tensor] = {}
    for name in LAYERS[:-1]:
        module = vae.encoder.get_submodule(name)
        module.register_forward_hook(lambda _m, _a, output, name=name: found.update({name: output}))
    found["latent_mean"] = vae.encode(2 * x - 1).latent_dist.mean
    return found


# Layers


@pytest.mark.parametrize(("height", "width"), [(16, 24), (32, 32), (4, 4)])
def test_every_layer_is_what_the_library_gives_there(weights: str, height: int, width: int) -> None:
    extractor, x = SDXLVAE(weights), image(2, height, width)
    expected = reference(weights, x)
    assert list(extractor.layers) == LAYERS
    for layer in LAYERS:
        torch.testing.assert_close(extractor.extract(x, layer), expected[layer], rtol=1e-6, atol=1e-6)


def test_the_decoder_is_not_kept(weights: str) -> None:
    vae = AutoencoderKL.from_pretrained(weights)
    parts = [vae.encoder] + ([vae.quant_conv] if vae.quant_conv is not None else [])
    expected = sum(parameter.numel() for part in parts for parameter in part.parameters())
    assert sum(parameter.numel() for parameter in SDXLVAE(weights).parameters()) == expected


def test_shapes(weights: str) -> None:
    extractor = SDXLVAE(weights)
    expected = [(8, 32, 32), (8, 16, 16), (8, 8, 8), (16, 8, 8), (16, 8, 8), (4, 8, 8)]
    assert extractor.shapes(extractor.example(32)) == dict(zip(LAYERS, expected, strict=True))


@pytest.mark.parametrize("shape", [(1, 3, 18, 16), (1, 3, 16, 17), (1, 1, 16, 16), (3, 16, 16)])
def test_images_that_do_not_fit_are_one_sentence(with_quant: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ReadoutError, match=r"sides are multiples of 4 pixels.*choose another image size"):
        SDXLVAE(with_quant).extract(torch.zeros(shape), "conv_in")


# Weights


def test_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    with pytest.raises(ReadoutError, match="class UNet2DConditionModel, not an AutoencoderKL"):
        SDXLVAE(str(tmp_path))
