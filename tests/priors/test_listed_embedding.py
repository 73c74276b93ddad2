import pytest
import torch
from torch.nn import functional as F

from readout.priors import listed_embedding as module
from readout.priors.listed_embedding import listed_embedding

GENERATOR = torch.Generator().manual_seed(0)
PROBABILITIES = torch.rand(7, 5, generator=GENERATOR, dtype=torch.float64)
TOKENS = torch.randint(0, 11, (7, 5), generator=GENERATOR)
TABLE = torch.randn(11, 3, generator=GENERATOR, dtype=torch.float64)


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_value_and_gradient_are_those_of_a_bag_of_embeddings(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", rows * 5 * 3 * 8)
    ours, plain = (PROBABILITIES.clone().requires_grad_() for _ in range(2))
    upstream = torch.randn(7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = listed_embedding(ours, TOKENS, TABLE)
    expected = F.embedding_bag(TOKENS, TABLE, mode="sum", per_sample_weights=plain)
    torch.testing.assert_close(found, expected)
    found.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(ours.grad, plain.grad)
