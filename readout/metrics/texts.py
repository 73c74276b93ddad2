"""Distances and similarities between texts of token ids; positions with a negative true id are not scored."""

from torch import Tensor, nn
from torch.nn import functional as F

from readout.common.errors import ReadoutError
from readout.common.padding import masked_mean
from readout.extractors import FeatureExtractor
from readout.metrics.base import SampleMetric


class TokenErrorRate(SampleMetric):
    """Share of scored positions with a wrong token; the paper's d_X for texts.

    Examples:
        >>> import torch
        >>> true = torch.tensor([[101, 7, 8, 9, -1]])
        >>> TokenErrorRate().per_sample(torch.tensor([[101, 7, 8, 5, 0]]), true)
        tensor([0.2500])
    """

    name = "token_error_rate"
    higher_is_better = False
    threshold = 0.3

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :class:`SampleMetric`; ids of shape (samples, positions)."""
        return masked_mean((recovered != true).float(), true >= 0)


class ExactMatch(SampleMetric):
    """1 if every scored token is right, else 0.

    Examples:
        >>> import torch
        >>> true = torch.tensor([[7, 8, -1], [7, 8, 9]])
        >>> ExactMatch().per_sample(torch.tensor([[7, 8, 0], [7, 8, 1]]), true)
        tensor([1., 0.])
    """

    name = "exact_match"
    higher_is_better = True

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :class:`SampleMetric`; ids of shape (samples, positions)."""
        return ((recovered == true) | (true < 0)).all(1).float()


class EmbeddingCosine(SampleMetric):
    """Mean cosine similarity between the input embeddings of true and recovered tokens, over scored positions."""

    name = "embedding_cosine"
    higher_is_better = True

    def __init__(self) -> None:
        super().__init__()
        self._table: Tensor | None = None

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Take the network's embedding table.

        Raises:
            ReadoutError: if the network has no token embeddings.
        """
        embedding = getattr(extractor, "embedding", None)
        if not isinstance(embedding, nn.Embedding):
            raise ReadoutError(f"{extractor.name} has no token embeddings; remove EmbeddingCosine from `metrics`.")
        self._table = embedding.weight

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :class:`SampleMetric`; ids of shape (samples, positions).

        Raises:
            ValueError: if :meth:`prepare_for` was not called.
        """
        if self._table is None:
            raise ValueError("EmbeddingCosine needs prepare_for(extractor) first")
        table = self._table.to(recovered.device)
        found, right = (F.embedding(ids.clamp_min(0), table).float() for ids in (recovered, true))
        return masked_mean(F.cosine_similarity(found, right, dim=-1), true >= 0)
