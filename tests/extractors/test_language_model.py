import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel

from readout import cli
from readout.common.errors import ReadoutError
from readout.extractors.language_model import LanguageModel
from readout.extractors.transformers_text import BERT, GPT2, OPT
from readout.extractors.weights import PackagedWeights
from tests.tiny_text import (
    DEPTH,
    FRAME,
    KINDS,
    MAX_TOKENS,
    SPECIAL,
    TEXT,
    WIDTH,
    save_tiny,
    tiny_config,
    tiny_tokenizer,
    write_gguf,
)

BLOCKS = [f"layer.{block}" for block in range(DEPTH)]
CLASSES = {"bert": BERT, "gpt2": GPT2, "opt": OPT, "opt-350m": OPT}

OTHERS: dict[str, dict[str, Any]] = {
    "roberta": {"pad_token_id": 1},
    "distilbert": {},
    "electra": {"embedding_size": 16, "intermediate_size": 32},
    "modernbert": {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "intermediate_size": 32},
    "qwen2": {"num_key_value_heads": 1, "intermediate_size": 32},
    "gpt_neox": {"intermediate_size": 32},
    "gemma": {"num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 32, "pad_token_id": 0},
    "bloom": {},
    "openai-gpt": {},
    "mistral": {"num_key_value_heads": 1, "intermediate_size": 32},
    "phi": {"intermediate_size": 32, "partial_rotary_factor": 0.5},
}
"""Further models, to see that blocks are found in any, by what their configurations need beside their size."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {kind: save_tiny(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def weights(kind: str, folders: dict[str, str]) -> str:
    return folders[kind]


@pytest.fixture
def extractor(weights: str) -> LanguageModel:
    return LanguageModel(weights)


def text_ids(extractor: LanguageModel, text: str = TEXT) -> Tensor:
    """One text as the network takes it, shape (1, positions)."""
    return extractor.frame(extractor.tokenize(text)).unsqueeze(0)


def two_texts(extractor: LanguageModel) -> tuple[Tensor, Tensor]:
    """Two texts of different lengths, filled up with the id 5, and where they have tokens."""
    long, short = text_ids(extractor)[0], text_ids(extractor, "a red bird saw two fish")[0]
    ids = torch.full((2, len(long)), 5)
    ids[0], ids[1, : len(short)] = long, short
    lengths = torch.tensor([len(long), len(short)])
    return ids, torch.arange(len(long)) < lengths[:, None]


def saved_config(folder: Path, model_type: str, **changes: Any) -> str:
    """The folder of a model that has no weights yet."""
    tiny_config(model_type, **changes).save_pretrained(folder)
    return str(folder)


def library_model(weights: str) -> Any:
    """The library's own model, without the cache, with which attention rounds differently."""
    return AutoModel.from_pretrained(weights, use_cache=False).eval()


@torch.no_grad()
def hidden_states(network: Any, ids: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
    """What the library gives for tokens: its hidden states, of which the last is the one called so."""
    mask = mask if mask is None else mask.long()
    output = network(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    states = dict(zip(["embeddings", *BLOCKS], output.hidden_states, strict=True))
    return states | {"final": output.last_hidden_state}


@torch.no_grad()
def raw_output_of_last_block(extractor: LanguageModel, ids: Tensor) -> Tensor:
    """By a hook of its own: the library's last hidden state comes after a norm in some models."""
    seen: list[Tensor] = []
    block = extractor.network.get_submodule(extractor.layers[BLOCKS[-1]])
    hook = block.register_forward_hook(
        lambda _module, _args, output: seen.append(output if isinstance(output, Tensor) else output[0])
    )
    extractor.network.model(input_ids=ids)  # type: ignore[operator]
    hook.remove()
    return seen[0]


# Layers


def test_every_layer_is_the_librarys_hidden_state(kind: str, weights: str) -> None:
    extractor = LanguageModel(weights)
    ids = text_ids(extractor)
    expected = hidden_states(library_model(weights), ids)
    has_final = kind != "bert"
    assert list(extractor.layers) == ["embeddings", *BLOCKS] + ["final"] * has_final
    for layer in extractor.layers:
        feature = extractor.extract(extractor.embed(ids), layer)
        if layer == BLOCKS[-1] and has_final:
            torch.testing.assert_close(feature, raw_output_of_last_block(extractor, ids), rtol=1e-6, atol=1e-6)
            assert feature.shape != expected["final"].shape or not torch.allclose(feature, expected["final"], atol=0.1)
        else:
            torch.testing.assert_close(feature, expected[layer], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(expected["layer.0"], expected["layer.1"], atol=0.1)


def test_padded_texts_have_the_librarys_hidden_states_too(weights: str) -> None:
    extractor = LanguageModel(weights)
    ids, mask = two_texts(extractor)
    expected = hidden_states(library_model(weights), ids, mask)
    for layer in extractor.layers:
        if layer != BLOCKS[-1]:
            feature = extractor.extract(extractor.embed(ids), layer, mask)
            torch.testing.assert_close(feature[mask], expected[layer][mask], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("model_type", OTHERS)
def test_the_blocks_of_any_model_are_found(model_type: str, tmp_path: Path) -> None:
    extractor = LanguageModel(saved_config(tmp_path, model_type, **OTHERS[model_type]), pretrained=False)
    assert extractor.name == model_type
    ids = torch.arange(7, 19).view(2, 6)
    expected = hidden_states(extractor.network.model, ids)
    layers = list(extractor.layers)
    assert layers[: DEPTH + 1] == ["embeddings", *BLOCKS]
    for layer in layers:
        if layer != BLOCKS[-1]:
            feature = extractor.extract(extractor.embed(ids), layer)
            torch.testing.assert_close(feature, expected[layer], rtol=1e-5, atol=1e-5)
    last = extractor.extract(extractor.embed(ids), BLOCKS[-1])
    torch.testing.assert_close(last, raw_output_of_last_block(extractor, ids))
    assert ("final" in layers) == (not torch.equal(last, expected["final"]))
    assert extractor.causal == (model_type not in ("roberta", "distilbert", "electra", "modernbert"))
    torch.testing.assert_close(extractor.embedding.weight[ids], extractor.embed(ids))


def test_quarter_depths_are_the_hidden_states_at_quarters(tmp_path: Path) -> None:
    extractor = GPT2(saved_config(tmp_path, "gpt2", num_hidden_layers=12), pretrained=False)
    quarters = ["embeddings", "layer.2", "layer.5", "layer.8", "layer.11"]
    assert extractor.resolve("depth:0,0.25,0.5,0.75,1") == quarters
    assert extractor.resolve(["all"]) == ["embeddings", *(f"layer.{block}" for block in range(12)), "final"]
    assert extractor.resolve(["final", "layer.3"]) == ["layer.3", "final"]


def test_an_unknown_layer_says_how_to_list_them(folders: dict[str, str]) -> None:
    with pytest.raises(ReadoutError, match=r"BERT has no layer 'layer\.4'\. Did you mean layer\.3") as raised:
        BERT(folders["bert"]).extract(torch.zeros(1, 2, WIDTH), "layer.4")
    assert f"layers --model BERT --model.weights {folders['bert']}`" in str(raised.value)


def test_so_does_one_of_a_gguf_file(gguf_folder: Path) -> None:
    with pytest.raises(ReadoutError, match=r"llama has no layer 'h\.0'") as raised:
        LanguageModel(str(gguf_folder), "tiny.gguf").resolve("h.0")
    command = f"layers --model LanguageModel --model.weights {gguf_folder} --model.gguf_file tiny.gguf`"
    assert command in str(raised.value)


def test_shapes_are_positions_by_width(kind: str, extractor: LanguageModel) -> None:
    shapes = extractor.shapes(extractor.example(9))
    width = 16 if kind == "opt-350m" else WIDTH
    assert extractor.example(9).shape == (1, 9, width)
    assert list(shapes) == list(extractor.layers)
    assert shapes == {layer: (9, width if layer == "final" else WIDTH) for layer in extractor.layers}
    assert extractor.example(224).shape == (1, MAX_TOKENS, width)


def test_gradients_reach_the_tokens_and_nothing_else(extractor: LanguageModel) -> None:
    ids, mask = two_texts(extractor)
    x = extractor.embed(ids).requires_grad_()
    feature = extractor.extract(x, BLOCKS[-1], mask)
    (gradient,) = torch.autograd.grad(feature[1][mask[1]].square().sum(), x)
    assert gradient[1][mask[1]].abs().amin() > 0
    assert gradient[1][~mask[1]].abs().max() == 0
    assert gradient[0].abs().max() == 0
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
    assert not any(module.training for module in extractor.modules())


# Padding and causality


def test_padding_changes_no_feature_of_a_token(extractor: LanguageModel) -> None:
    ids, mask = two_texts(extractor)
    other = ids.masked_fill(~mask, -1)
    length = int(mask[1].sum())
    for layer in extractor.layers:
        padded = extractor.extract(extractor.embed(ids), layer, mask)
        alone = extractor.extract(extractor.embed(ids[1:, :length]), layer)
        torch.testing.assert_close(padded[1, :length], alone[0], rtol=1e-5, atol=1e-5)
        otherwise = extractor.extract(extractor.embed(other), layer, mask)
        torch.testing.assert_close(padded[mask], otherwise[mask], rtol=1e-5, atol=1e-5)


def test_a_mask_of_tokens_only_is_no_mask(extractor: LanguageModel) -> None:
    ids = text_ids(extractor)
    x = extractor.embed(ids)
    for layer in extractor.layers:
        masked = extractor.extract(x, layer, torch.ones_like(ids, dtype=torch.bool))
        torch.testing.assert_close(masked, extractor.extract(x, layer), rtol=1e-5, atol=1e-5)


def test_a_causal_models_positions_see_no_later_token(kind: str, extractor: LanguageModel) -> None:
    assert extractor.causal == (kind != "bert")
    ids = text_ids(extractor)
    changed = ids.clone()
    changed[:, 8:] = changed[:, 8:].roll(3, dims=1)
    assert (changed[:, 8:] != ids[:, 8:]).any()
    for layer in extractor.layers:
        before, after = (extractor.extract(extractor.embed(x), layer) for x in (ids, changed))
        assert not torch.allclose(before[:, 8:], after[:, 8:], atol=0.01)
        if extractor.causal or layer == "embeddings":
            torch.testing.assert_close(before[:, :8], after[:, :8], rtol=1e-5, atol=1e-5)
        else:
            assert not torch.allclose(before[:, :8], after[:, :8], atol=0.01)


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (torch.ones(1, 3, dtype=torch.bool), r"mask has shape \(1, 3\) .* pass bools of shape \(2, 3\)"),
        (torch.ones(2, 3), r"type torch\.float32; pass bools"),
        (torch.tensor([[True, True, True], [False, True, True]]), "put padding on the right"),
        (torch.tensor([[True, True, True], [True, False, True]]), "put padding on the right"),
        (torch.tensor([[True, True, True], [False, False, False]]), "put padding on the right"),
    ],
)
def test_a_mask_that_does_not_fit_is_one_sentence(mask: Tensor, sentence: str, folders: dict[str, str]) -> None:
    with pytest.raises(ReadoutError, match=sentence):
        LanguageModel(folders["bert"]).extract(torch.zeros(2, 3, WIDTH), "layer.0", mask)


# Embeddings and length


def test_embeddings_are_rows_of_the_table(kind: str, extractor: LanguageModel) -> None:
    width = 16 if kind == "opt-350m" else WIDTH
    assert extractor.embedding.embedding_dim == width
    ids = torch.tensor([[5, -1, 7], [8, 9, -100]])
    embedded = extractor.embed(ids)
    assert torch.equal(embedded[ids >= 0], extractor.embedding.weight[ids[ids >= 0]])
    assert embedded.isfinite().all()
    with pytest.raises(ReadoutError, match=r"Token 100 is not among the \d+ that"):
        extractor.embed(torch.tensor([[3, 100]]))


def test_the_longest_input_is_taken_and_no_longer_one(kind: str, weights: str) -> None:
    extractor = LanguageModel(weights)
    assert extractor.max_tokens == MAX_TOKENS
    ids = torch.arange(MAX_TOKENS).unsqueeze(0) + 5
    expected = hidden_states(library_model(weights), ids)
    torch.testing.assert_close(extractor.extract(extractor.embed(ids), "layer.1"), expected["layer.1"])
    with pytest.raises(ReadoutError, match=f"accepts at most {MAX_TOKENS} tokens, not {MAX_TOKENS + 1}; cut the texts"):
        extractor.extract(extractor.embed(torch.cat([ids, ids[:, :1]], 1)), "layer.1")


def test_positions_that_start_after_the_padding_index_leave_less_room(tmp_path: Path) -> None:
    extractor = LanguageModel(saved_config(tmp_path, "roberta", pad_token_id=1), pretrained=False)
    assert extractor.max_tokens == MAX_TOKENS - 2
    ids = torch.arange(MAX_TOKENS - 2).unsqueeze(0) + 5
    assert extractor.extract(extractor.embed(ids), "final" if "final" in extractor.layers else "layer.3").ndim == 3
    with pytest.raises((IndexError, RuntimeError), match=r"out of (range|bounds)"):
        extractor.network.model(torch.cat([ids, ids[:, :1]], 1))  # type: ignore[operator]


def test_a_model_without_positions_has_no_longest_input(tmp_path: Path) -> None:
    config = tiny_config("bloom").to_dict()
    del config["max_position_embeddings"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    extractor = LanguageModel(str(tmp_path), pretrained=False)
    assert extractor.max_tokens is None
    assert extractor.extract(extractor.example(70), "layer.0").shape == (1, 70, WIDTH)


@pytest.mark.parametrize("shape", [(2, 3, WIDTH + 1), (3, WIDTH), (1, 3, 8, 8)])
def test_what_is_no_embedding_is_one_sentence(shape: tuple[int, ...], folders: dict[str, str]) -> None:
    with pytest.raises(ReadoutError, match=r"takes embeddings of shape \(batch, positions, 24\).* with `embed`"):
        LanguageModel(folders["bert"]).extract(torch.zeros(shape), "layer.0")


# Tokens


def test_a_text_becomes_tokens_and_a_text_again(kind: str, extractor: LanguageModel) -> None:
    ids = extractor.tokenize(TEXT)
    assert ids.dtype == torch.int64
    assert ids.shape == (len(TEXT.split()),)
    assert [token.strip() for token in extractor.tokens(ids)] == TEXT.split()
    assert "".join(extractor.tokens(ids)) == extractor.decode(ids) == TEXT
    padded = torch.cat([ids, torch.tensor([-1, -1])])
    assert (extractor.tokens(padded), extractor.decode(padded)) == (extractor.tokens(ids), TEXT)
    assert extractor.tokens(ids[:0]) == []
    assert extractor.tokenize("").shape == (0,)
    names = SPECIAL[kind.split("-")[0]]
    assert extractor.unknown_id == extractor.tokenize("zebra").item() < len(names)


def test_a_frame_is_what_the_tokenizer_puts_around_a_text(kind: str, extractor: LanguageModel) -> None:
    ids = extractor.tokenize(TEXT)
    framed = extractor.frame(ids)
    assert framed.dtype == torch.int64
    assert framed.tolist() == extractor.tokenizer(TEXT)["input_ids"]
    frame = FRAME[kind.split("-")[0]]
    assert len(framed) == len(ids) + len(frame)
    special = extractor.is_special(framed)
    assert "".join(extractor.tokens(framed[special])).split() == list(frame)
    assert torch.equal(framed[~special], ids)
    assert len(extractor.frame(torch.empty(0, dtype=torch.long))) == len(frame)


def test_unknown_and_masked_tokens_belong_to_a_text_and_padding_does_not(folders: dict[str, str]) -> None:
    extractor = LanguageModel(folders["bert"])
    names = SPECIAL["bert"]
    ids = torch.tensor(
        [[names.index(name) for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")], [-1, 5, 6, 7, 8]]
    )
    special = extractor.is_special(ids)
    assert special.tolist() == [[True, False, True, True, False], [True, False, False, False, False]]


def test_padding_that_is_the_unknown_token_too_belongs_to_a_text(folders: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(folders["llama"], tmp_path, dirs_exist_ok=True)
    tokenizer = tiny_tokenizer("llama")
    tokenizer.pad_token = "<unk>"
    tokenizer.save_pretrained(tmp_path)
    assert LanguageModel(str(tmp_path)).is_special(torch.tensor([0, 1, 2])).tolist() == [False, True, False]


def test_a_text_that_is_too_long_gives_no_warning(
    folders: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folders["gpt2"], tmp_path, dirs_exist_ok=True)
    tokenizer = tiny_tokenizer("gpt2")
    tokenizer.model_max_length = 10
    tokenizer.save_pretrained(tmp_path)
    extractor = LanguageModel(str(tmp_path))
    capfd.readouterr()
    assert len(extractor.tokenize(TEXT * 5)) > 50
    assert capfd.readouterr() == ("", "")


def test_a_frame_that_can_not_be_told_is_one_sentence(folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = LanguageModel(folders["bert"])
    monkeypatch.setattr(extractor, "_encode", lambda _text, special: [2, 9, 3] if special else [8])
    with pytest.raises(ReadoutError, match=r"turns 'a' into \[2, 9, 3\] with special tokens and \[8\] without"):
        extractor.frame(torch.tensor([5]))


def test_features_need_no_tokenizer_and_texts_do(folders: dict[str, str], tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(Path(folders["bert"]) / name, tmp_path)
    extractor = LanguageModel(str(tmp_path))
    assert extractor.extract(extractor.example(3), "layer.0").shape == (1, 3, WIDTH)
    with pytest.raises(ReadoutError, match=r"holds no tokenizer; put its tokenizer\.json beside"):
        extractor.tokenize("a")
    (tmp_path / "tokenizer.json").write_text("torn")
    with pytest.raises(ReadoutError, match=r"The tokenizer of .* can't be loaded .*put an intact tokenizer\.json"):
        extractor.tokenize("a")


# Names, classes and fingerprints


def test_names_say_the_class_or_the_model_type(kind: str, weights: str) -> None:
    assert LanguageModel(weights).name == kind.split("-")[0]
    assert LanguageModel(weights).weights_name == weights
    if kind in CLASSES:
        assert CLASSES[kind](weights).name == CLASSES[kind].__name__


@pytest.mark.parametrize("owner", [BERT, GPT2, OPT])
def test_a_class_refuses_other_models(owner: type[LanguageModel], kind: str, weights: str) -> None:
    if CLASSES.get(kind) is owner:
        assert "embeddings" in owner(weights).layers
    else:
        found = kind.split("-")[0]
        sentence = f"holds a {found} model; {owner.__name__} needs one of type {owner.model_types[0]}, and"
        with pytest.raises(ReadoutError, match=sentence):
            owner(weights)


def test_a_further_model_is_a_class_of_a_few_lines(tmp_path: Path, folders: dict[str, str]) -> None:
    class Pythia(LanguageModel):
        model_types = ("gpt_neox",)

        def __init__(self, weights: str = "EleutherAI/pythia-70m", pretrained: bool = True, seed: int = 0) -> None:
            super().__init__(weights, pretrained=pretrained, seed=seed)

    pythia = Pythia(saved_config(tmp_path, "gpt_neox", intermediate_size=32), pretrained=False)
    assert (pythia.name, pythia.causal, pythia.resolve("depth:1")) == ("Pythia", True, ["layer.3"])
    with pytest.raises(ReadoutError, match="holds a bert model; Pythia needs one of type gpt_neox"):
        Pythia(folders["bert"])


def changed_config(source: str, folder: Path, **changes: Any) -> str:
    shutil.copytree(source, folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return str(folder)


def test_what_a_configuration_computes_is_in_the_fingerprint(folders: dict[str, str], tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{}, {"num_attention_heads": 4}, {"hidden_act": "relu"}, {"layer_norm_eps": 1e-3}]
    found = {
        BERT(changed_config(folders["bert"], tmp_path / str(place), **change)).fingerprint()
        for place, change in enumerate(changes)
    }
    assert len(found) == len(changes)


def test_where_a_configuration_comes_from_is_not(folders: dict[str, str], tmp_path: Path) -> None:
    provenance = {
        "transformers_version": "4.8.2",
        "_name_or_path": "elsewhere",
        "architectures": ["BertForMaskedLM"],
        "torch_dtype": "float16",
        "use_cache": False,
    }
    moved = changed_config(folders["bert"], tmp_path / "moved", **provenance)
    assert BERT(moved).fingerprint() == BERT(folders["bert"]).fingerprint()


# Weights


def test_files_of_half_precision_are_read_as_float32(kind: str, weights: str, tmp_path: Path) -> None:
    folder = Path(changed_config(weights, tmp_path / "half", dtype="float16", torch_dtype="float16"))
    state = {key: value.half() for key, value in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    extractor = LanguageModel(str(folder))
    assert {parameter.dtype for parameter in extractor.parameters()} == {torch.float32}
    for name, value in extractor.network.model.state_dict().items():  # type: ignore[operator, union-attr]
        assert torch.equal(value, state[name].float())
    random = LanguageModel(str(folder), pretrained=False)
    assert {parameter.dtype for parameter in random.parameters()} == {torch.float32}


def test_a_model_saved_with_a_head_is_the_same_without(kind: str, weights: str, tmp_path: Path) -> None:
    library: Any = transformers
    heads = {"bert": library.BertForMaskedLM, "gpt2": library.GPT2LMHeadModel, "llama": library.LlamaForCausalLM}
    owner = heads.get(kind, library.OPTForCausalLM)
    bare = AutoModel.from_pretrained(weights)
    whole = owner(bare.config)
    getattr(whole, whole.base_model_prefix).load_state_dict(bare.state_dict(), strict=kind != "bert")
    whole.save_pretrained(tmp_path)
    # that of BERT has no pooler, which would be random
    assert kind != "bert" or not any("pooler" in key for key in load_file(tmp_path / "model.safetensors"))
    assert LanguageModel(str(tmp_path)).fingerprint() == LanguageModel(weights).fingerprint()


def test_a_pickled_checkpoint_is_read_where_there_is_no_other(weights: str, tmp_path: Path) -> None:
    shutil.copytree(weights, tmp_path / "pickled")
    file = tmp_path / "pickled" / "model.safetensors"
    torch.save(load_file(file), tmp_path / "pickled" / "pytorch_model.bin")
    file.unlink()
    assert LanguageModel(str(tmp_path / "pickled")).fingerprint() == LanguageModel(weights).fingerprint()


@pytest.mark.parametrize(
    ("model_type", "changes", "sentence"),
    [
        ("t5", {"d_model": WIDTH}, "holds a t5 model, an encoder with a decoder; give a model that is only one"),
        (
            "albert",
            {"intermediate_size": 32},
            "type albert should have one list of its 4 blocks but has none",
        ),
        (
            "xlm",
            {"n_heads": 3, "emb_dim": WIDTH},
            r"type xlm should have one list .* several \(attentions, ",
        ),
        ("fnet", {"intermediate_size": 32}, "(lets padding change|does not run on)"),  # by version
        ("dinov2", {"image_size": 28, "patch_size": 14}, "holds a dinov2 model, which takes no tokens"),
        ("pretend", {}, "can't be loaded .*pretend"),
    ],
)
def test_a_model_that_will_not_do_is_one_sentence(
    model_type: str, changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    if model_type == "pretend":
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "pretend"}))
    else:
        saved_config(tmp_path, model_type, **changes)
    with pytest.raises(ReadoutError, match=sentence) as raised:
        LanguageModel(str(tmp_path), pretrained=False)
    assert "\n" not in str(raised.value)


def test_a_models_own_code_is_not_run(folders: dict[str, str], tmp_path: Path) -> None:
    changes = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    folder = changed_config(folders["bert"], tmp_path / "mine", **changes)
    Path(folder, "mine.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(ReadoutError, match="can't be loaded"):
        LanguageModel(folder)


# GGUF


@pytest.fixture(scope="module")
def gguf_folder(folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    write_gguf(folder / "tiny.gguf", folders["llama"])
    write_gguf(folder / "lost.gguf", folders["llama"], leave_out=["layers.1.mlp.up_proj.weight"])
    (folder / "torn.gguf").write_bytes((folder / "tiny.gguf").read_bytes()[:3000])
    return folder


def test_a_gguf_file_gives_the_features_of_the_model_in_it(
    gguf_folder: Path, folders: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    extractor, original = LanguageModel(str(gguf_folder), "tiny.gguf"), LanguageModel(folders["llama"])
    assert capfd.readouterr() == ("", "")
    assert (extractor.name, extractor.weights_name) == ("llama", f"{gguf_folder}/tiny.gguf")
    assert list(extractor.layers) == list(original.layers)
    assert extractor.max_tokens == MAX_TOKENS
    x = original.embed(text_ids(original))
    for layer in original.layers:
        torch.testing.assert_close(extractor.extract(x, layer), original.extract(x, layer), rtol=1e-6, atol=1e-6)
    assert torch.equal(extractor.embedding.weight, original.embedding.weight)
    assert extractor.tokens(extractor.tokenize("abcde")) == ["ab", "cd", "e"]
    assert extractor.fingerprint() == LanguageModel(str(gguf_folder), "tiny.gguf").fingerprint()


def test_random_weights_of_a_gguf_files_architecture(gguf_folder: Path) -> None:
    random = LanguageModel(str(gguf_folder), "tiny.gguf", pretrained=False, seed=3)
    assert random.weights_name == f"{gguf_folder}/tiny.gguf, random (seed 3)"
    assert random.fingerprint() != LanguageModel(str(gguf_folder), "tiny.gguf").fingerprint()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("lost.gguf", r"1 weights of the model are missing .*'layers\.1\.mlp\.up_proj\.weight'"),
        ("torn.gguf", "can't be loaded"),
        ("other.gguf", r"holds no other\.gguf; give a folder"),
    ],
)
def test_a_gguf_file_that_will_not_do_is_one_sentence(name: str, sentence: str, gguf_folder: Path) -> None:
    with pytest.raises(ReadoutError, match=sentence) as raised:
        LanguageModel(str(gguf_folder), name)
    assert "\n" not in str(raised.value)


def test_a_gguf_file_of_another_model_is_refused(gguf_folder: Path) -> None:
    with pytest.raises(ReadoutError, match="holds a llama model; GPT2 needs one of type gpt2"):
        GPT2(str(gguf_folder), "tiny.gguf")


# The hub and the package index


class Hub:
    """Stands in for `snapshot_download`: gives a folder the files that were asked for."""

    def __init__(self, files: str, folder: Path) -> None:
        self.files, self.folder = Path(files), folder
        self.asked: list[str] = []

    def __call__(self, _id: str, allow_patterns: list[str], **_: Any) -> str:
        self.asked += allow_patterns
        self.folder.mkdir(exist_ok=True)
        for pattern in allow_patterns:
            for file in self.files.glob(pattern):
                shutil.copy(file, self.folder)
        return str(self.folder)


def test_the_hub_is_asked_for_one_form_of_the_weights_only(
    folders: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(changed_config(folders["opt"], tmp_path / "source"))
    state = load_file(source / "model.safetensors")
    torch.save(state, source / "pytorch_model.bin")
    (source / "tf_model.h5").write_text("large")
    expected = OPT(folders["opt"]).fingerprint()

    both = Hub(str(source), tmp_path / "both")
    monkeypatch.setattr("huggingface_hub.snapshot_download", both)
    extractor = OPT()
    assert extractor.fingerprint() == expected
    assert extractor.weights_name == "facebook/opt-350m"
    assert extractor.decode(extractor.tokenize(TEXT)) == TEXT
    assert "pytorch_model.bin" not in both.asked

    (source / "model.safetensors").unlink()
    monkeypatch.setattr("huggingface_hub.snapshot_download", Hub(str(source), tmp_path / "pickled"))
    assert OPT().fingerprint() == expected
    assert not (tmp_path / "pickled" / "tf_model.h5").exists()

    neither = Hub(str(source), tmp_path / "neither")
    monkeypatch.setattr("huggingface_hub.snapshot_download", neither)
    random = OPT(pretrained=False)
    assert not any((tmp_path / "neither").glob("*.bin"))
    assert random.decode(random.tokenize(TEXT)) == TEXT


def test_the_hub_is_asked_for_one_gguf_file(gguf_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", Hub(str(gguf_folder), tmp_path / "cache"))
    extractor = LanguageModel("someone/tiny-GGUF", "tiny.gguf")
    assert extractor.weights_name == "someone/tiny-GGUF/tiny.gguf"
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["tiny.gguf"]


def test_packaged_weights_go_by_short_names(
    folders: dict[str, str], gguf_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(packaged: PackagedWeights) -> Path:
        return Path(folders["bert"]) if "minilm" in packaged.requirement else gguf_folder / "tiny.gguf"

    monkeypatch.setattr("readout.extractors.text_hub.fetch", fetch)
    minilm, smollm2 = BERT("minilm"), LanguageModel("smollm2")
    assert (minilm.name, minilm.weights_name) == ("BERT", "minilm")
    assert (smollm2.name, smollm2.weights_name) == ("llama", "smollm2")
    assert minilm.fingerprint() == BERT(folders["bert"]).fingerprint()
    with pytest.raises(ReadoutError, match="leave out `gguf_file`"):
        LanguageModel("smollm2", "tiny.gguf")


def test_the_command_line_lists_the_layers(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["layers", "--model", "OPT", "--model.weights", folders["opt-350m"], "--size", "9"]) == 0
    shown = capsys.readouterr().out
    assert all(layer in shown for layer in ("embeddings", *BLOCKS, "final"))
    assert "9 × 24" in shown
    assert "9 × 16" in shown


# The real things


@pytest.mark.real_weights
def test_minilm_is_read_as_it_is_meant() -> None:
    extractor = BERT("minilm")
    assert (extractor.causal, extractor.max_tokens) == (False, 512)
    ids = text_ids(extractor, "The quick brown fox jumps over the lazy dog.")
    assert extractor.decode(ids[0]).lower().startswith("[cls] the quick brown fox jumps over the lazy dog")
    assert extractor.is_special(ids)[0].nonzero().flatten().tolist() == [0, ids.shape[1] - 1]
    with torch.no_grad():
        states = extractor.network.model(input_ids=ids, output_hidden_states=True).hidden_states  # type: ignore[operator]
    assert list(extractor.layers) == ["embeddings", *(f"layer.{block}" for block in range(6))]
    for layer, state in zip(extractor.layers, states, strict=True):
        torch.testing.assert_close(extractor.extract(extractor.embed(ids), layer), state, rtol=1e-6, atol=1e-6)

    def sentence(text: str) -> Tensor:
        feature = extractor.extract(extractor.embed(text_ids(extractor, text)), "layer.5")
        return torch.nn.functional.normalize(feature.mean(1)[0], dim=0)

    cat, kitten, bank = map(sentence, ("A cat is sleeping.", "The kitten naps.", "The bank raised its interest rates."))
    assert cat @ kitten > cat @ bank + 0.3


@pytest.mark.real_weights
def test_smollm2_is_read_as_it_is_meant() -> None:
    extractor = LanguageModel("smollm2")
    assert (extractor.name, extractor.causal, extractor.max_tokens) == ("llama", True, 8192)
    assert len(extractor.depths) == 31
    ids = text_ids(extractor, "The capital of France is")
    with torch.no_grad():
        output = extractor.network.model(input_ids=ids, output_hidden_states=True)  # type: ignore[operator]
    x = extractor.embed(ids)
    for place in (0, 1, 15, 29):
        feature = extractor.extract(x, extractor.depths[place])
        torch.testing.assert_close(feature, output.hidden_states[place], rtol=1e-5, atol=1e-5)
    final = extractor.extract(x, "final")
    torch.testing.assert_close(final, output.last_hidden_state, rtol=1e-5, atol=1e-5)
    # its output layer is its table of embeddings
    scores = final[0, -1] @ extractor.embedding.weight.T
    assert extractor.tokens(scores.argmax().view(1)) == [" Paris"]
