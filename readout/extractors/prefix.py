"""Scoring next tokens with a causal model: cached keys and values leave one position to run."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from readout.extractors.language_model import LanguageModel

AT_A_TIME = 1024
"""Tokens per batch."""


@dataclass(frozen=True)
class Prefix:
    """Tokens read so far, as the keys and values that each block caches."""

    keys_values: tuple[tuple[Tensor, Tensor], ...] = ()
    """Keys and values of each block up to the layer, of shape (1, heads, tokens, width)."""


NOTHING = Prefix()


def states_after(extractor: LanguageModel, prefix: Prefix, ids: Tensor, layer: str) -> Tensor:
    """Compute the hidden state of each candidate for the next token.

    Args:
        extractor: A causal language model.
        prefix: Tokens before it.
        ids: Candidates, shape (tokens,).
        layer: A layer name.

    Returns:
        Hidden states, shape (tokens, width).
    """
    return torch.cat([_run(extractor, prefix, some, layer)[0] for some in torch.split(ids, AT_A_TIME)])


def advance(extractor: LanguageModel, prefix: Prefix, token: int, layer: str) -> Prefix:
    """Return the prefix extended by one token."""
    ids = torch.tensor([token], device=extractor.embedding.weight.device)
    # run at least one block: a model counts positions by the cache of its first block
    return _run(extractor, prefix, ids, "layer.0" if layer == "embeddings" else layer)[1]


def _run(extractor: LanguageModel, prefix: Prefix, ids: Tensor, layer: str) -> tuple[Tensor, Prefix]:
    import transformers

    cache: Any = transformers.DynamicCache()  # its types differ between supported versions
    for block, kept in enumerate(prefix.keys_values):
        cache.update(*(tensor.expand(len(ids), -1, -1, -1) for tensor in kept), block)
    states = extractor.run_to(extractor.embed(ids.unsqueeze(1)), layer, None, cache)
    return states[:, 0], Prefix(tuple((block.keys, block.values) for block in cache.layers))
