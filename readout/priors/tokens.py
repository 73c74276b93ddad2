"""The base class of priors over texts."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.priors.base import Prior

FREE = -2
"""Id of a position whose token is to be found."""


class TokenPrior(Prior):
    """Parameters of texts; the network receives embeddings, and token ids are scored."""

    embedding: nn.Embedding
    """Token embeddings of the network."""

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Take the network's token embeddings.

        Raises:
            ReadoutError: if the network has none.
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
            seeds: One seed per problem.
            input_shape: (positions,).
            known: Shape (problems, positions): a known token's id, :data:`FREE` where a token is to be found, or
                :data:`readout.common.padding.PADDING`. Default: all free.
        """

    @staticmethod
    def _known(seeds: Sequence[int], input_shape: torch.Size, known: Tensor | None) -> Tensor:
        return torch.full((len(seeds), *input_shape), FREE) if known is None else known.cpu()
