from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from readout import cli, load_results
from readout.common.errors import ReadoutError
from readout.priors.vae_decoder import VAEDecoder
from readout.problems.identity import describe
from readout.readouts import ImageInversion
from tests.extractors.test_sdxl_vae import save_tiny
from tests.tiny import TinyNet

SHAPE = torch.Size([3, 16, 24])
LEVELS = [0.0, 0.3, 0.5, 0.7, 0.9]


@pytest.fixture(scope="module")
def with_quant(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(tmp_path_factory.mktemp("with_quant"))


@pytest.fixture(scope="module")
def without_quant(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny(
        tmp_path_factory.mktemp("without_quant"), use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.4
    )


@pytest.fixture(params=["with_quant", "without_quant"])
def weights(request: pytest.FixtureRequest) -> str:
    path: str = request.getfixturevalue(request.param)
    return path


def images(prior: VAEDecoder, seeds: Sequence[int]) -> Tensor:
    prior.initialise(seeds, SHAPE)
    return prior()


# The map


def test_images_are_what_the_library_decodes(weights: str) -> None:
    prior = VAEDecoder(weights, init_std=2)
    found = images(prior, [5, 6]).detach()
    vae = AutoencoderKL.from_pretrained(weights).eval()
    with torch.no_grad():
        unscaled = prior.latents / vae.config.scaling_factor + (vae.config.shift_factor or 0)
        expected = (vae.decode(unscaled).sample / 2 + 0.5).clamp(0, 1)
    assert found.shape == (2, *SHAPE)
    assert found.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_latents_are_normal(with_quant: str) -> None:
    prior = VAEDecoder(with_quant, init_std=0.5)
    prior.initialise(list(range(100)), SHAPE)
    assert prior.latents.shape == (100, 4, 4, 6)
    assert prior.latents.std().item() == pytest.approx(0.5, rel=0.05)
    assert prior.latents.mean().item() == pytest.approx(0, abs=0.02)


def test_images_stay_in_range(with_quant: str) -> None:
    values = images(VAEDecoder(with_quant, init_std=1e4), [1])
    assert values.min() >= 0
    assert values.max() <= 1


def test_the_encoder_is_not_kept(with_quant: str) -> None:
    assert not any("encoder" in name for name, _ in VAEDecoder(with_quant).named_modules())


# What decides an answer


def test_settings_can_be_described(with_quant: str) -> None:
    assert describe(VAEDecoder(with_quant, init_std=0.5)) == {
        "class": "readout.VAEDecoder",
        "weights": with_quant,
        "pretrained": True,
        "seed": 0,
        "init_std": 0.5,
    }


def test_any_change_of_the_decoder_changes_the_readouts_description(with_quant: str, tmp_path: Path) -> None:
    def described(prior: VAEDecoder) -> Any:
        found = ImageInversion(TinyNet(), prior).describe()
        found["prior"].pop("weights")
        return found

    moved = described(VAEDecoder(save_tiny(tmp_path / "same")))
    scaled = described(VAEDecoder(save_tiny(tmp_path / "scaled", scaling_factor=0.5)))
    activated = described(VAEDecoder(save_tiny(tmp_path / "activated", act_fn="relu")))
    random, other = (described(VAEDecoder(with_quant, pretrained=False, seed=seed)) for seed in (0, 1))
    assert described(VAEDecoder(with_quant)) == moved
    variants = [moved, scaled, activated, random, other]
    assert len({str(variant["prior_fingerprint"]) for variant in variants}) == len(variants)


# Errors


@pytest.mark.parametrize("shape", [(3, 18, 16), (1, 16, 16), (3, 16, 17), (48,)])
def test_inputs_that_do_not_fit_are_one_sentence(with_quant: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ReadoutError, match="sides are multiples of 4 pixels"):
        VAEDecoder(with_quant).initialise([0], torch.Size(shape))


def test_a_negative_deviation_is_refused(with_quant: str) -> None:
    with pytest.raises(ReadoutError, match="init_std is -1"):
        VAEDecoder(with_quant, init_std=-1)


# The configuration


def test_the_configuration_runs(with_quant: str, tmp_path: Path) -> None:
    overrides = {
        "model.extractor.weights": "random",
        "model.prior.weights": with_quant,
        "data.names": "[astronaut, chelsea]",
        "data.size": "32",
        "sweep.layers": "[conv1_2, conv2_1]",
        "sweep.levels": "[0, 0.5]",
        "sweep.output": str(tmp_path / "out"),
        "trainer.max_steps": "2",
        "trainer.accelerator": "cpu",
    }
    arguments = [part for key, value in overrides.items() for part in (f"--{key}", value)]
    assert cli.main(["fit", "--config", "vgg_dip.yaml", "--config", "vgg_vae_prior.yaml", *arguments]) == 0
    results = load_results(tmp_path / "out")
    assert list(dict.fromkeys(results["layer"])) == ["conv1_2", "conv2_1"]
    assert len(results) == 2 * 2 * 2
    assert set(results["prior"]) == {"VAEDecoder"}
    assert results["distance"].between(0, 2).all()
