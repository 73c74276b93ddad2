"""Which tokens are worth trying: those that come near in another context."""

import torch
from torch import Tensor

from readout.extractors import LanguageModel
from readout.extractors.prefix import NOTHING, Prefix, advance, states_after

CONTEXT = "When they came home, he asked for"
"""After this every token is tried once. Any plain text does; a lone special token is too odd a context."""

ANCHORS = 128
"""Tokens that are tried in every context, to learn how it moves hidden states."""

EXTREME = 10
"""Dimensions whose extremes exceed the median dimension's so many times are left out of the ranking."""


class Shortlist:
    """Picks tokens whose hidden state will come near a target, without trying the whole vocabulary.

    Every token's hidden state is computed once, after one context that is always the same. Another context moves those
    states, and mostly all alike; how far is the mean over a few anchor tokens tried in it. The nearest of the moved
    states are tried for certain. A few dimensions, in which single tokens grow enormous in one context and not in the
    next (Sun et al., 2024, arXiv 2402.17762), would spoil that order and are left out of it, though not of the trial.
    At the very first position there is no context, so the whole vocabulary is tried, once for all texts.

    Args:
        extractor: A causal language model.
        layer: A layer name.
        count: How many tokens to pick.
    """

    def __init__(self, extractor: LanguageModel, layer: str, count: int) -> None:
        self.extractor, self.layer, self.count = extractor, layer, count
        device = extractor.embedding.weight.device
        self._vocabulary = torch.arange(extractor.embedding.num_embeddings, device=device)
        self._anchors = _anchors(len(self._vocabulary)).to(device)
        context = NOTHING
        for token in extractor.tokenize(CONTEXT).tolist():
            context = advance(extractor, context, token, layer)
        self._first = states_after(extractor, NOTHING, self._vocabulary, layer)
        states = states_after(extractor, context, self._vocabulary, layer)
        extremes = (states - states.median(0).values).abs().amax(0)
        self._ranked = extremes <= EXTREME * extremes.median()
        self._states = states[:, self._ranked]
        self._squares = self._states.square().sum(1)

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
        here = states_after(self.extractor, prefix, self._anchors, self.layer)[:, self._ranked]
        moved = (here - self._states[self._anchors]).mean(0)
        errors = self._squares - 2 * self._states @ (target[self._ranked] - moved)
        ids = errors.topk(min(self.count, len(errors)), largest=False).indices
        return ids, states_after(self.extractor, prefix, ids, self.layer)


def _anchors(vocabulary: int) -> Tensor:
    """Half from everywhere, half from the beginning, where vocabularies have their frequent tokens."""
    everywhere = torch.linspace(0, vocabulary - 1, ANCHORS // 2)
    frequent = torch.linspace(0, vocabulary / 32, ANCHORS // 2)
    ids: Tensor = torch.unique(torch.cat([everywhere, frequent]).long())  # type: ignore[no-untyped-call]
    return ids
