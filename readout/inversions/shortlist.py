"""Which tokens are worth trying: those that come near in another context."""

import torch
from torch import Tensor

from readout.extractors import LanguageModel
from readout.extractors.prefix import NOTHING, Prefix, advance, states_after

ANCHORS = 64
"""Tokens that are tried in every context, to learn how it moves hidden states."""


class Shortlist:
    """Picks tokens whose hidden state will come near a target, without trying the whole vocabulary.

    Every token's hidden state is computed once, after one token that is always the same. Another context moves those
    states, and mostly all alike; how far is the mean over a few anchor tokens tried in it. The nearest of the moved
    states are tried for certain. At the very first position there is no context, so the whole vocabulary is tried,
    once for all texts.

    Args:
        extractor: A causal language model.
        layer: A layer name.
        count: How many tokens to pick.
    """

    def __init__(self, extractor: LanguageModel, layer: str, count: int) -> None:
        self.extractor, self.layer, self.count = extractor, layer, count
        device = extractor.embedding.weight.device
        self._vocabulary = torch.arange(extractor.embedding.num_embeddings, device=device)
        places = torch.linspace(0, len(self._vocabulary) - 1, min(ANCHORS, len(self._vocabulary)), device=device)
        self._anchors = torch.unique(places.round().long())  # type: ignore[no-untyped-call]
        self._first = states_after(extractor, NOTHING, self._vocabulary, layer)
        self._second = states_after(extractor, advance(extractor, NOTHING, 0, layer), self._vocabulary, layer)
        self._squares = self._second.square().sum(1)

    def tried(self, prefix: Prefix, target: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens after a prefix, and the hidden state of each.

        Args:
            prefix: What comes before.
            target: The hidden state to come near, shape (width,).

        Returns:
            Ids, shape (count,), or (vocabulary,) after nothing; and states, shape (ids, width).
        """
        if not prefix.keys_values:
            return self._vocabulary, self._first
        moved = states_after(self.extractor, prefix, self._anchors, self.layer) - self._second[self._anchors]
        errors = self._squares - 2 * self._second @ (target - moved.mean(0))
        ids = errors.topk(min(self.count, len(errors)), largest=False).indices
        return ids, states_after(self.extractor, prefix, ids, self.layer)
