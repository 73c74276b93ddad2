"""Rules for every model that is read from a folder or the hub; a new class is one entry of :data:`MODELS`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

from readout.common.errors import ReadoutError
from readout.extractors import BERT, GPT2, OPT, SDXLVAE, DINOv2
from readout.priors import VAEDecoder
from tests import tiny_text
from tests.extractors import test_dinov2, test_sdxl_vae

MODELS: dict[Any, tuple[Callable[[Path], str], str]] = {
    DINOv2: (test_dinov2.save_tiny, "encoder.layer.0.norm1.weight"),
    SDXLVAE: (test_sdxl_vae.save_tiny, "encoder.conv_in.bias"),
    VAEDecoder: (test_sdxl_vae.save_tiny, "decoder.conv_in.bias"),
    BERT: (tiny_text.save_tiny, "encoder.layer.0.output.dense.bias"),
    GPT2: (partial(tiny_text.save_tiny, kind="gpt2"), "h.0.ln_1.bias"),
    OPT: (partial(tiny_text.save_tiny, kind="opt"), "decoder.layers.0.fc1.bias"),
}
"""Class → what saves a tiny one in a folder, and the name of a weight."""

every = pytest.mark.parametrize("owner", MODELS)


def saved(owner: Any, folder: Path) -> tuple[str, Path]:
    """A model's folder, and the file with its weights."""
    weights = MODELS[owner][0](folder)
    return weights, next(folder.glob("*.safetensors"))


@every
def test_loading_leaves_the_global_generator_alone_and_prints_nothing(
    owner: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights, _ = saved(owner, tmp_path)
    capfd.readouterr()
    before = torch.get_rng_state()
    owner(weights)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


@every
def test_half_precision_files_are_read_as_float32(owner: Any, tmp_path: Path) -> None:
    weights, file = saved(owner, tmp_path)
    save_file({key: value.half() for key, value in load_file(file).items()}, file, {"format": "pt"})
    assert {parameter.dtype for parameter in owner(weights).parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("lost", "1 weights of the model are missing .*'{}'"),
        ("shape", "(have another shape|can't be loaded).*{}"),
        ("nan", "1 weights in .* are NaN or infinite .*'{}'"),
        ("torn", "can't be loaded"),
        ("none", "can't be loaded"),
    ],
)
@every
def test_no_weight_is_left_to_chance(owner: Any, damage: str, sentence: str, tmp_path: Path) -> None:
    weights, file = saved(owner, tmp_path)
    key, state = MODELS[owner][1], load_file(file)
    weight = state.pop(key)
    if damage in ("shape", "nan"):
        state[key] = torch.zeros(5) if damage == "shape" else weight * torch.nan
    file.unlink()
    if damage == "torn":
        file.write_text("torn")
    elif damage != "none":
        save_file(state, file, {"format": "pt"})
    with pytest.raises(ReadoutError, match=sentence.format(key)):
        owner(weights)


@pytest.mark.parametrize("weights", ["/nowhere/at/all", "./nowhere", "~/nowhere/at/all"])
@every
def test_a_missing_folder_is_one_sentence(owner: Any, weights: str) -> None:
    with pytest.raises(ReadoutError, match=r"There is no folder .*nowhere.*; give a folder"):
        owner(weights)


@pytest.mark.parametrize("pretrained", [True, False])
@every
def test_an_id_that_can_not_be_fetched_says_what_to_download(
    owner: Any, pretrained: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ReadoutError, match=r"hf download \w[\w-]+/\S+ --local-dir FOLDER") as raised:
        owner(pretrained=pretrained)
    assert "\n" not in str(raised.value)
