"""A shortlist of candidate tokens, ranked by their hidden states in a fixed context."""

import torch
from torch import Tensor

from readout.extractors import LanguageModel
from readout.extractors.prefix import NOTHING, Prefix, advance, states_after

CONTEXT = "When they came home, he asked for"
"""Fixed context in which every token is evaluated once; any plain text works, but a lone special token is atypical."""

ANCHORS = 128
"""Number of tokens evaluated in every context, to estimate how it shifts hidden states."""

EXTREME = 10
"""Dimensions whose largest deviation exceeds this many times the median dimension's are left out of the ranking."""


class Shortlist:
    """Candidate tokens whose hidden states come near a target, found without evaluating the whole vocabulary.

    Every token's hidden state is computed once, in a fixed context. Another context shifts these states, mostly by a
    common vector, which is estimated as the mean over a few anchor tokens evaluated in it. The tokens with the nearest
    shifted states are then evaluated exactly. Massive activations, dimensions in which single tokens grow enormous in
    one context and not in the next (Sun et al., 2024, arXiv 2402.17762), would spoil this ranking, so it leaves them
    out; the exact evaluation does not. The first position has no context, so the whole vocabulary is evaluated there,
    once for all texts.

    Args:
        extractor: Causal language model.
        layer: Layer name.
        count: Number of candidates.
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
        """Return the candidates after a prefix, and their hidden states.

        Args:
            prefix: Tokens before the position.
            target: Hidden state to approach, shape (width,).

        Returns:
            Ids, shape (count,), or (vocabulary,) after an empty prefix; and states, shape (ids, width).
        """
        if not prefix.keys_values:
            return self._vocabulary, self._first
        here = states_after(self.extractor, prefix, self._anchors, self.layer)[:, self._ranked]
        moved = (here - self._states[self._anchors]).mean(0)
        # ‖state + moved − target‖² without ‖moved − target‖², which is the same for all tokens
        errors = self._squares - 2 * self._states @ (target[self._ranked] - moved)
        ids = errors.topk(min(self.count, len(errors)), largest=False).indices
        return ids, states_after(self.extractor, prefix, ids, self.layer)


def _anchors(vocabulary: int) -> Tensor:
    """Choose half of the anchors from the whole vocabulary, half from its start, where frequent tokens are."""
    everywhere = torch.linspace(0, vocabulary - 1, ANCHORS // 2)
    frequent = torch.linspace(0, vocabulary / 32, ANCHORS // 2)
    ids: Tensor = torch.unique(torch.cat([everywhere, frequent]).long())  # type: ignore[no-untyped-call]
    return ids
