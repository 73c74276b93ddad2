"""Language models of transformers, fed with input embeddings in place of tokens."""

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
"""Entries of a configuration that say where a model comes from, not what it computes."""


class LanguageModel(FeatureExtractor):
    """Any encoder or causal decoder of transformers: ``embeddings``, ``layer.0``, ``layer.1`` … and maybe ``final``.

    Inputs are embeddings of tokens, so that something between tokens can be optimised; the model adds positions and
    token types itself. Layers are the library's ``hidden_states``: ``embeddings`` is what the first block takes in,
    ``layer.0`` what it gives. Where more follows the last block (a layer norm, a projection), ``final`` is the last
    hidden state, which ``depth:`` does not count.

    Blocks, and whether the model is causal, are found by running it on a few tokens, so a further model needs no more
    than a name::

        class Pythia(LanguageModel):
            model_types = ("gpt_neox",)

            def __init__(self, weights: str = "EleutherAI/pythia-70m", pretrained: bool = True, seed: int = 0) -> None:
                super().__init__(weights, pretrained=pretrained, seed=seed)

    Args:
        weights: A hub id, a folder that ``save_pretrained`` wrote, or ``minilm`` (a BERT of 6 blocks) or ``smollm2``
            (a Llama of 30), which come through pip. Downloads go to the hub's own cache.
        gguf_file: Name of a GGUF file in there, which is then read in place of the library's own files.
        pretrained: False for random weights; ``weights`` then says the architecture and the tokenizer only.
        seed: Seed of random weights.

    Raises:
        ReadoutError: if the model can't be had, is of another kind, or its weights are not whole.
    """

    model_types: tuple[str, ...] = ()
    """What a subclass takes, by the library's ``model_type``; empty for anything."""

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
        """Whether no position sees a later one."""
        self.max_tokens = _longest(model)
        """The longest input the model takes, special tokens included; None if there is no longest."""
        self._type = str(model.config.model_type)

    @property
    def name(self) -> str:
        """The class, or the library's ``model_type`` where the class takes any."""
        return type(self).__name__ if self.model_types else self._type

    @property
    def depths(self) -> list[str]:
        """``embeddings`` and the blocks."""
        return [layer for layer in self.layers if layer != "final"]

    def extract(self, x: Tensor, layer: str, mask: Tensor | None = None) -> Tensor:
        """The feature h = f(x) of one layer; nothing after that layer runs.

        Args:
            x: Input embeddings, shape (batch, positions, width of :attr:`embedding`).
            layer: A name out of :attr:`layers`.
            mask: True for tokens, False for padding, which may only follow them; shape (batch, positions). Padding
                changes no feature of a token; its own features mean nothing. Default: tokens only.

        Returns:
            The layer's output, shape (batch, positions, width), differentiable with respect to ``x``.

        Raises:
            ReadoutError: if there is no such layer, or ``x`` or ``mask`` does not fit.
        """
        if layer not in self.layers:
            raise ReadoutError(self.unknown(layer))
        x = self.preprocess(x)
        if mask is not None:
            _check_mask(mask, x)
        return self.run_to(x, layer, mask)

    def preprocess(self, x: Tensor) -> Tensor:
        """Input embeddings as they are.

        Raises:
            ReadoutError: if ``x`` is not that, or longer than the model takes.
        """
        width = self.embedding.embedding_dim
        if x.ndim != 3 or x.shape[2] != width:
            raise ReadoutError(
                f"{self.name} takes embeddings of shape (batch, positions, {width}), not {tuple(x.shape)}; make them "
                "of token ids with `embed`."
            )
        if self.max_tokens is not None and x.shape[1] > self.max_tokens:
            raise ReadoutError(
                f"{self.name} takes {self.max_tokens} tokens at most, not {x.shape[1]}; cut the texts to that."
            )
        return x

    def example(self, size: int) -> Tensor:
        """One text of ``size`` tokens, or as many as the model takes, all of them the first of the vocabulary."""
        return self.embed(torch.zeros(1, min(size, self.max_tokens or size), dtype=torch.long))

    @property
    def embedding(self) -> nn.Embedding:
        """The table of input embeddings, one row a token of the vocabulary."""
        embedding: nn.Embedding = self._model.get_input_embeddings()
        return embedding

    def embed(self, ids: Tensor) -> Tensor:
        """Input embeddings of token ids.

        Args:
            ids: int64, shape (batch, positions); negative ones (padding) become some valid token.

        Returns:
            Shape (batch, positions, width).

        Raises:
            ReadoutError: if an id is beyond the vocabulary.
        """
        embedding = self.embedding
        if ids.numel() and ids.max() >= embedding.num_embeddings:
            raise ReadoutError(
                f"Token {int(ids.max())} is not among the {embedding.num_embeddings} that {self.name} embeds; take "
                "the tokenizer that belongs to these weights."
            )
        embedded: Tensor = embedding(ids.clamp_min(0).to(embedding.weight.device))
        return embedded

    @cached_property
    def tokenizer(self) -> Any:
        """The library's tokenizer that belongs to the weights.

        Raises:
            ReadoutError: if there is none.
        """
        return load_tokenizer(self._files)

    @property
    def unknown_id(self) -> int | None:
        """The id that stands for what the tokenizer does not know; None if it knows everything."""
        unknown: int | None = self.tokenizer.unk_token_id
        return unknown

    def tokenize(self, text: str) -> Tensor:
        """Ids of a text without special tokens, int64, shape (tokens,)."""
        return torch.tensor(self._encode(text, special=False), dtype=torch.long)

    def frame(self, ids: Tensor) -> Tensor:
        """Ids with the special tokens around them that the tokenizer puts around a text.

        Args:
            ids: int64, shape (tokens,).

        Returns:
            Shape (positions,).
        """
        before, after = self._frame
        return torch.cat([ids.new_tensor(before), ids, ids.new_tensor(after)])

    def is_special(self, ids: Tensor) -> Tensor:
        """Which ids frame a text or fill it up, and so belong to none; unknown and mask tokens do.

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
        """The text of ids, shape (positions,), special tokens included; negative ones are left out."""
        text: str = self.tokenizer.decode(_valid(ids))
        return text

    def tokens(self, ids: Tensor) -> list[str]:
        """The text of each id, shape (positions,), which together read as the whole; negative ones are left out."""
        valid, decode = _valid(ids), self.tokenizer.decode
        # after its neighbour, because some tokenizers put the space between two tokens into neither
        following = [decode([one, two]).removeprefix(decode([one])) for one, two in pairwise(valid)]
        return [decode([first]) for first in valid[:1]] + following

    def fingerprint(self) -> str:
        """See :meth:`FeatureExtractor.fingerprint`; the configuration shows in no weight (heads, activations)."""
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
        """The ids before and after a text."""
        bare, framed = (self._encode("a", special=special) for special in (False, True))
        for start in range(len(framed) - len(bare) + 1):
            end = start + len(bare)
            if bare and framed[start:end] == bare:
                return framed[:start], framed[end:]
        raise ReadoutError(
            f"The tokenizer of {self.weights!r} makes {framed} of 'a' with special tokens and {bare} without, so what "
            "it puts around a text can't be told; give weights with another tokenizer."
        )

    def _encode(self, text: str, special: bool) -> list[int]:
        # not verbose: a text that is too long is cut later
        ids: list[int] = self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        return ids

    def _check_type(self, found: str) -> None:
        if self.model_types and found not in self.model_types:
            raise ReadoutError(
                f"{self._files.weights!r} holds a {found} model; {type(self).__name__} needs one of type "
                f"{' or '.join(self.model_types)}, and LanguageModel takes any."
            )


class _FromEmbeddings(nn.Module):
    """A language model as a function of input embeddings, with what its first block takes in as a submodule."""

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
        """The last hidden state; with the library's cache of keys and values, that of what comes after it."""
        kept = {} if cache is None else {self._cache_argument: cache, "use_cache": True}
        output = self.model(inputs_embeds=x, attention_mask=None if mask is None else mask.long(), **kept)
        state: Tensor = output.last_hidden_state
        return state

    def _pass(self, _block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return self.embeddings(args[0]), *args[1:]


def _longest(model: Any) -> int | None:
    """The most positions a model has, None if there is no end to them."""
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if longest is None or longest < 1:
        return None
    # position 0 comes after the padding index in RoBERTa and its like, inside a table of that length
    tables = (module for module in model.modules() if isinstance(module, nn.Embedding))
    positions = (table for table in tables if table.num_embeddings == longest)
    words = model.get_input_embeddings()
    offsets = (table.padding_idx + 1 for table in positions if table is not words and table.padding_idx is not None)
    return int(longest) - max(offsets, default=0)


def _check_mask(mask: Tensor, x: Tensor) -> None:
    if mask.dtype != torch.bool or mask.shape != x.shape[:2]:
        raise ReadoutError(
            f"The mask has shape {tuple(mask.shape)} and type {mask.dtype}; give a bool for each of the "
            f"{tuple(x.shape[:2])} positions."
        )
    if (mask[:, 1:] > mask[:, :-1]).any() or not mask[:, 0].all():
        raise ReadoutError("The mask has padding before a token; put padding on the right.")


def _valid(ids: Tensor) -> list[int]:
    valid: list[int] = ids[ids >= 0].tolist()
    return valid


def _computing(config: Any) -> Any:
    """A configuration without its provenance, at any depth."""
    if isinstance(config, dict):
        return {
            key: _computing(value) for key, value in config.items() if key not in PROVENANCE and not key.startswith("_")
        }
    return [_computing(value) for value in config] if isinstance(config, list) else config
