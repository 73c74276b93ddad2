"""TokenPrior: what a prior over texts is."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.priors.base import Prior

FREE = -2
"""Stands where the readout has to find a token."""


class TokenPrior(Prior):
    """Texts by their tokens; inputs are a network's embeddings of them."""

    embedding: nn.Embedding
    """The network's."""

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Take over the network's vocabulary.

        Raises:
            ReadoutError: if it has none.
        """
        embedding = getattr(extractor, "embedding", None)
        if not isinstance(embedding, nn.Embedding):
            raise ReadoutError(
                f"{extractor.name} has no token embeddings, so no text can be read from it; choose a language model."
            )
        self.embedding = embedding

    @abstractmethod
    def initialise(self, seeds: Sequence[int], input_shape: torch.Size, known: Tensor | None = None) -> None:
        """See :meth:`Prior.initialise`.

        Args:
            seeds: One seed a problem.
            input_shape: (positions,).
            known: What the readout is told of each text, shape (problems, positions): a token id, :data:`FREE` where
                it has to find one, or :data:`readout.common.padding.PADDING`. Default: everything is to be found.
        """

    @staticmethod
    def _known(seeds: Sequence[int], input_shape: torch.Size, known: Tensor | None) -> Tensor:
        return torch.full((len(seeds), *input_shape), FREE) if known is None else known.cpu()
