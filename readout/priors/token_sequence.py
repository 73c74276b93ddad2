"""Texts as the tokens read so far."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from readout.priors.tokens import TokenPrior


class TokenSequence(TokenPrior):
    """One token a position, for readouts that choose tokens and optimise nothing."""

    tokens: Tensor
    """Shape (problems, positions): :data:`readout.priors.tokens.FREE` where none is chosen yet."""

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size, known: Tensor | None = None) -> None:
        """See :meth:`TokenPrior.initialise`; nothing here is random."""
        self.register_buffer("tokens", self._known(seeds, input_shape, known).clone(), persistent=False)
        # Lightning counts the steps of an optimiser, and an optimiser wants a parameter
        self.step = nn.Parameter(torch.zeros(()))

    def forward(self) -> Tensor:
        """Embeddings of the tokens, shape (problems, positions, width); any token's where none is chosen."""
        embedded: Tensor = self.embedding(self.tokens.clamp_min(0))
        return embedded

    def read_out(self, inputs: Tensor) -> Tensor:
        """The tokens."""
        return self.tokens.clone()
