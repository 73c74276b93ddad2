"""Autoencoders of SAELens against their conversions; SAELens comes with the extra ``sae``."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from readout import cli
from readout.codes import (
    BatchTopKEncoder,
    Dictionary,
    Encoder,
    GatedEncoder,
    GaussianDictionary,
    JumpReLUEncoder,
    LearnedEncoder,
    PursuitEncoder,
    ReLUEncoder,
    SAELensDictionary,
    Superposition,
    TopKEncoder,
    from_sae_lens,
    to_sae_lens,
)
from readout.common.errors import ReadoutError

M, N, K = 12, 30, 4


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sae_lens", None)
    with pytest.raises(
        ReadoutError, match=r"sae_lens is not installed; `pip install 'readout\[sae\]'` brings SAELens\."
    ):
        SAELensDictionary(str(tmp_path))
    with pytest.raises(ReadoutError, match="is not installed"):
        to_sae_lens(with_weights(ReLUEncoder()), tmp_path)


@pytest.fixture(name="library", scope="module")
def _library() -> Any:
    return pytest.importorskip("sae_lens")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def autoencoder(library: Any, architecture: str, equal: bool = False, **settings: Any) -> Any:
    """Return an autoencoder with random weights whose decoder rows have different norms, or the same."""
    facts = {"architecture": architecture, "d_in": M, "d_sae": N, **({"k": K} if architecture == "topk" else {})}
    sae = library.SAE.from_dict({**facts, **settings})
    rows = normal(N, M)
    if equal:
        rows = 2 * rows / rows.norm(dim=1, keepdim=True)
    state = {name: normal(*old.shape, seed=len(name)) / 3 for name, old in sae.state_dict().items()}
    sae.load_state_dict({**state, "W_dec": rows, "b_dec": 2 * normal(M, seed=9)})
    return sae


def with_weights(encoder: Encoder) -> Dictionary:
    """Return a dictionary with a mean, a scale and an encoder with random weights."""
    atoms = GaussianDictionary(N, M).atoms
    encoder.build(atoms)
    state = {name: normal(*old.shape, seed=len(name)) / 2 for name, old in encoder.state_dict().items()}
    if "threshold" in state:
        state["threshold"] = torch.tensor(0.3)
    encoder.load_state_dict(state)
    return Dictionary(atoms, normal(M, seed=7), 2.5, encoder)


def codes_of(dictionary: Dictionary, feature: Tensor) -> Tensor:
    coder = LearnedEncoder()
    coder.prepare_for(Superposition(dictionary))
    return coder.infer(dictionary.standardise(feature), 1)


def agree(sae: Any, dictionary: Dictionary, sizes: Tensor | float = 1.0) -> None:
    """Compare codes, of which SAELens' are to be multiplied by ``sizes``, and reconstructions."""
    feature = 3 * normal(200, M, seed=3)
    with torch.no_grad():
        theirs = sae.encode(feature)
        recovered = sae.decode(theirs)
    found = codes_of(dictionary, feature)
    assert 0 < (found > 0).float().mean() < 0.9
    torch.testing.assert_close(found, theirs * sizes, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dictionary.restore(dictionary.decode(found)), recovered, rtol=1e-5, atol=1e-5)


SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "standard": ("standard", {}),
    "topk": ("topk", {}),
    "topk, ranked by scaled codes": ("topk", {"rescale_acts_by_decoder_norm": True}),
    "jumprelu": ("jumprelu", {}),
    "gated": ("gated", {}),
}


@pytest.mark.parametrize("from_mean", [True, False])
@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize(("architecture", "settings"), SETTINGS.values(), ids=SETTINGS)
def test_codes_and_reconstructions_are_those_of_sae_lens(
    architecture: str, settings: dict[str, Any], equal: bool, from_mean: bool, library: Any, tmp_path: Path
) -> None:
    sae = autoencoder(library, architecture, equal, apply_b_dec_to_input=from_mean, **settings)
    sae.save_model(tmp_path)
    dictionary = SAELensDictionary(str(tmp_path))
    norms = sae.W_dec.detach().norm(dim=1)
    # with "rescale", SAELens' codes are of rows at unit norm already
    sizes: Tensor | float = 1 / float(norms.mean()) if settings else norms / norms.mean()
    agree(sae, dictionary, sizes)
    if equal and not settings:
        agree(sae, dictionary)
    assert dictionary.scale == pytest.approx(float(norms.mean()))
    assert from_sae_lens(sae).fingerprint() == dictionary.fingerprint()
    to_sae_lens(dictionary, tmp_path / "again")
    # ranking needs rows of different norms, which SAELens' codes are then divided by
    ranked = architecture == "topk" and not settings
    agree(library.SAE.load_from_disk(tmp_path / "again"), dictionary, sizes if ranked else 1)


@pytest.mark.parametrize(
    ("architecture", "settings"), [("batchtopk", {}), ("matryoshka_batchtopk", {"matryoshka_widths": [10, N]})]
)
def test_a_trained_batchtopk_is_read_at_its_threshold(
    architecture: str, settings: dict[str, Any], library: Any, tmp_path: Path
) -> None:
    facts = {"architecture": architecture, "d_in": M, "d_sae": N, "k": K, **settings}
    trained = library.TrainingSAE.from_dict(facts)
    state = {name: normal(*old.shape, seed=len(name)) for name, old in trained.state_dict().items()}
    trained.load_state_dict({**state, "topk_threshold": torch.tensor(20, dtype=torch.double)})
    trained.save_inference_model(tmp_path / "inference")
    sae = library.SAE.load_from_disk(tmp_path / "inference")
    dictionary = SAELensDictionary(str(tmp_path / "inference"))
    norms = sae.W_dec.detach().norm(dim=1)
    agree(sae, dictionary, norms / norms.mean())
    trained.save_model(tmp_path / "training")
    with pytest.raises(ReadoutError, match=r"KeyError: '.*batchtopk'.*save_inference_model"):
        SAELensDictionary(str(tmp_path / "training"))
    with pytest.raises(ReadoutError, match="save_inference_model saves BatchTopK"):
        from_sae_lens(trained)


def test_a_folded_factor_of_the_activations_becomes_the_scale(library: Any) -> None:
    sae = autoencoder(library, "standard", normalize_activations="expected_average_only_in")
    sae.fold_W_dec_norm()
    with pytest.raises(ReadoutError, match=r"'expected_average_only_in'.*fold_activation_norm_scaling_factor"):
        from_sae_lens(sae)
    sae.fold_activation_norm_scaling_factor(0.25)
    dictionary = from_sae_lens(sae)
    assert dictionary.scale == pytest.approx(4)
    agree(sae, dictionary)


def test_heads_are_read_in_their_order(library: Any) -> None:
    sae = autoencoder(library, "standard", equal=True, reshape_activations="hook_z")
    feature = normal(20, M, seed=3)
    theirs = sae.encode(feature.view(20, 3, 4)).detach()
    torch.testing.assert_close(codes_of(from_sae_lens(sae), feature), theirs, rtol=1e-5, atol=1e-5)


MAKERS: list[Callable[[], Encoder]] = [
    ReLUEncoder,
    lambda: TopKEncoder(K),
    lambda: BatchTopKEncoder(K),
    JumpReLUEncoder,
    GatedEncoder,
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_learnt_dictionary_is_the_same_in_sae_lens(make: Callable[[], Encoder], library: Any, tmp_path: Path) -> None:
    dictionary = with_weights(make())
    to_sae_lens(dictionary, tmp_path)
    agree(library.SAE.load_from_disk(tmp_path), dictionary)
    again = SAELensDictionary(str(tmp_path))
    agree(library.SAE.load_from_disk(tmp_path), again)
    assert again.scale == pytest.approx(2.5)


def test_a_latent_at_the_threshold_stays_active(library: Any, tmp_path: Path) -> None:
    encoder = BatchTopKEncoder(1)
    encoder.build(torch.eye(2))
    encoder.threshold = torch.tensor(0.5)
    to_sae_lens(Dictionary(torch.eye(2), encoder=encoder), tmp_path)
    feature = torch.tensor([[0.5, 0.4999]])
    assert library.SAE.load_from_disk(tmp_path).encode(feature).tolist() == [[0.5, 0.0]]
    assert codes_of(SAELensDictionary(str(tmp_path)), feature).tolist() == [[0.5, 0.0]]


def test_thresholds_much_above_the_bandwidth_leave_codes_exact(library: Any) -> None:
    sae = autoencoder(library, "jumprelu", equal=True)
    with torch.no_grad():
        sae.threshold.fill_(100)
        sae.b_enc.fill_(100)
    agree(sae, from_sae_lens(sae))


def test_what_can_not_be_converted_is_one_sentence(library: Any, tmp_path: Path) -> None:
    facts = {"architecture": "transcoder", "d_in": M, "d_out": M, "d_sae": N, "apply_b_dec_to_input": False}
    with pytest.raises(ReadoutError, match="'transcoder' can't be converted; give one of standard, topk"):
        from_sae_lens(library.SAE.from_dict(facts))
    with pytest.raises(ReadoutError, match="'layer_norm', outside of its weights"):
        from_sae_lens(autoencoder(library, "standard", normalize_activations="layer_norm"))
    with pytest.raises(ReadoutError, match=r"SAELens can't read an autoencoder in .*nowhere"):
        SAELensDictionary(str(tmp_path / "nowhere"))
    (tmp_path / "cfg.json").write_text(json.dumps({"architecture": "standard"}))
    with pytest.raises(ReadoutError, match="save_inference_model or save_model has written"):
        SAELensDictionary(str(tmp_path))
    with pytest.raises(ReadoutError, match="a dictionary with no encoder"):
        to_sae_lens(GaussianDictionary(N, M), tmp_path)
    with pytest.raises(ReadoutError, match="a dictionary with a PursuitEncoder"):
        to_sae_lens(with_weights(PursuitEncoder(K)), tmp_path)


def test_the_command_reads_a_layers_codes_by_it(
    library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for width in (256, M):
        facts = {"architecture": "topk", "d_in": width, "d_sae": 300, "k": K}
        library.SAE.from_dict(facts).save_model(tmp_path / str(width))
    arguments = ["fit", "--config", "vgg_sae_codes.yaml", "--model.extractor.weights", "null", "--data.size", "32"]
    arguments += ["--data.names", "[astronaut]", "--sweep.levels", "[0, 0.3]"]
    arguments += ["--model.dictionary", "SAELensDictionary"]
    assert cli.main([*arguments, "--model.dictionary.path", "256"]) == 0
    assert cli.main([*arguments, "--model.dictionary.path", str(M), "--sweep.output", "other"]) == 2
    assert "Atoms have 12 dimensions, but features at layer 'conv3_1' have 256" in capsys.readouterr().err
