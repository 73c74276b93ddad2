"""Shipped configurations of images run through the command line, on tiny models."""

from collections.abc import Callable
from pathlib import Path

import pytest

from readout import cli, load_results
from tests.extractors import test_contract, test_dinov2, test_sdxl_vae
from tests.helpers import write_noise_images

BLOCKS = [f"layer.{block}" for block in range(4)]
STAGES = ["act1", *(f"layer{stage}" for stage in range(1, 5))]


def timm(name: str, size: int, layers: str) -> dict[str, str]:
    extractor = {"name": name, "weights": "random", "image_size": str(size)}
    return {"sweep.layers": layers, **{f"model.extractor.{key}": value for key, value in extractor.items()}}


def clip(folder: Path) -> dict[str, str]:
    test_contract.clip("tiny-ViT", folder, 0)
    return {"model.extractor.name": "tiny-ViT", "model.extractor.weights": "random"}


@pytest.mark.parametrize(
    ("config", "side", "overrides", "layers", "model"),
    [
        ("dinov2_dip", 28, lambda f: {"model.extractor.weights": test_dinov2.save_tiny(f)}, BLOCKS, "DINOv2-24"),
        (
            "sdxl_vae_dip",
            16,
            lambda f: {"model.extractor.weights": test_sdxl_vae.save_tiny(f)},
            test_sdxl_vae.LAYERS,
            "SDXLVAE",
        ),
        ("timm_dip", 32, lambda _: timm("test_resnet", 32, "all"), STAGES, "timm test_resnet"),
        ("timm_dip", 64, lambda _: timm("test_vit", 64, "depth:0.25,1"), ["blocks.1", "blocks.5"], "timm test_vit"),
        ("clip_dip", 32, clip, [f"blocks.{block}" for block in range(4)], "OpenCLIP tiny-ViT"),
    ],
)
def test_it_runs(
    config: str,
    side: int,
    overrides: Callable[[Path], dict[str, str]],
    layers: list[str],
    model: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "weights").mkdir()
    write_noise_images(tmp_path, side=side + 8)
    options = {
        "model.prior.filters": "[4, 8]",
        "data.folder": str(tmp_path),
        "data.size": str(side),
        "data.limit": "2",
        "sweep.levels": "[0, 0.5]",
        "sweep.output": str(tmp_path / "out"),
        "trainer.max_steps": "2",
        "trainer.accelerator": "cpu",
        **overrides(tmp_path / "weights"),
    }
    arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
    assert cli.main(["fit", "--config", f"{config}.yaml", *arguments]) == 0
    results = load_results(tmp_path / "out")
    assert results["layer"].unique().tolist() == layers
    assert len(results) == len(layers) * 2 * 2
    assert set(results["model"]) == {model}
    assert set(results["weights"]) == {options["model.extractor.weights"].replace("random", "random (seed 0)")}
    assert results["distance"].between(0, 2).all()
