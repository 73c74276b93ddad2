import pytest
import torch
from torch import nn

from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.metrics import EmbeddingCosine, ExactMatch, SampleMetric, TokenErrorRate
from tests.tiny import TinyNet

TRUE = torch.tensor([[-1, 5, 6, 7, 8, -1], [-1, 5, 6, -1, -1, -1]])
RECOVERED = torch.tensor([[9, 5, 0, 7, 0, 3], [9, 5, 6, 4, -1, 2]])


class Vocabulary(FeatureExtractor):
    """Ten tokens whose embeddings point in ten directions."""

    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Identity()), layers={"identity": "0"})
        self.embedding = nn.Embedding(10, 10, _weight=2 * torch.eye(10))


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


@pytest.mark.parametrize("metric", [TokenErrorRate(), ExactMatch()])
def test_the_mean_is_over_texts_not_tokens(metric: SampleMetric) -> None:
    metric.update(RECOVERED[:1], TRUE[:1])
    metric.update(RECOVERED[1:], TRUE[1:])
    assert metric.compute() == metric.per_sample(RECOVERED, TRUE).mean()


def test_only_the_error_rate_is_a_distance_and_has_the_papers_threshold() -> None:
    assert not TokenErrorRate.higher_is_better
    assert TokenErrorRate.threshold == 0.3
    assert ExactMatch.higher_is_better
    assert EmbeddingCosine.higher_is_better
