"""Texts as the tokens found so far."""

from collections.abc import Sequence

import torch
from torch import Tensor

from readout.priors.tokens import TokenPrior


class TokenSequence(TokenPrior):
    """One token id per position, for searches that choose tokens and optimise nothing."""

    tokens: Tensor
    """Shape (problems, positions); :data:`readout.priors.tokens.FREE` where no token is chosen yet."""

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size, known: Tensor | None = None) -> None:
        """See :meth:`TokenPrior.initialise`; nothing here is random."""
        self.register_buffer("tokens", self._known(seeds, input_shape, known).clone(), persistent=False)

    def forward(self) -> Tensor:
        """Return the tokens' embeddings, shape (problems, positions, width); token 0 stands in for unchosen ones."""
        embedded: Tensor = self.embedding(self.tokens.clamp_min(0))
        return embedded

    def read_out(self, inputs: Tensor) -> Tensor:
        """Return the tokens, shape (problems, positions)."""
        return self.tokens.clone()
