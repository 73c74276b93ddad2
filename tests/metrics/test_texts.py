import pytest
import torch

from readout.common.errors import ReadoutError
from readout.metrics import EmbeddingCosine, ExactMatch, TokenErrorRate
from tests.tiny import TinyNet, Vocabulary

TRUE = torch.tensor([[-1, 5, 6, 7, 8, -1], [-1, 5, 6, -1, -1, -1]])
RECOVERED = torch.tensor([[9, 5, 0, 7, 0, 3], [9, 5, 6, 4, -1, 2]])


def test_the_token_error_rate_is_the_share_of_scored_positions_that_are_wrong() -> None:
    assert TokenErrorRate().per_sample(RECOVERED, TRUE).tolist() == [0.5, 0]


def test_an_exact_match_allows_no_error_at_a_scored_position() -> None:
    assert ExactMatch().per_sample(RECOVERED, TRUE).tolist() == [0, 1]


def test_the_embedding_cosine_compares_token_by_token() -> None:
    metric = EmbeddingCosine()
    metric.prepare_for(Vocabulary())
    assert metric.per_sample(RECOVERED, TRUE).tolist() == pytest.approx([0.5, 1])


def test_the_embedding_cosine_needs_embeddings() -> None:
    with pytest.raises(ReadoutError, match="TinyNet has no token embeddings; remove EmbeddingCosine from"):
        EmbeddingCosine().prepare_for(TinyNet())
    with pytest.raises(ValueError, match="prepare_for"):
        EmbeddingCosine().per_sample(RECOVERED, TRUE)
