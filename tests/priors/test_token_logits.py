from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.common.padding import PADDING
from readout.extractors import LanguageModel
from readout.priors import TokenLogits
from readout.priors.tokens import FREE
from tests.tiny import TinyNet
from tests.tiny_text import WIDTH, save_tiny

GIVEN = torch.tensor([[2, FREE, FREE, 3], [2, FREE, PADDING, PADDING]])


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return LanguageModel(save_tiny(tmp_path_factory.mktemp("bert"), "bert"))


def logits(bert: LanguageModel, seeds: Sequence[int] = (1, 2), given: Tensor = GIVEN, **settings: Any) -> TokenLogits:
    prior = TokenLogits(**settings)
    prior.prepare_for(bert)
    prior.initialise(seeds, given.shape[1:], given)
    return prior


def test_only_positions_to_find_have_logits(bert: LanguageModel) -> None:
    assert logits(bert).logits.shape == (3, bert.embedding.num_embeddings)


def test_logits_start_near_zero_so_that_every_token_is_as_likely(bert: LanguageModel) -> None:
    prior = logits(bert, init_std=0)
    expected = bert.embedding.weight.mean(0).expand(3, WIDTH)
    torch.testing.assert_close(prior()[GIVEN == FREE], expected)
    assert 0.005 < logits(bert).logits.std() < 0.02


def test_inputs_are_expected_embeddings_with_the_given_tokens_as_they_are(bert: LanguageModel) -> None:
    prior = logits(bert, init_std=3.0, temperature=0.5)
    inputs = prior()
    found = (prior.logits / 0.5).softmax(1) @ bert.embedding.weight
    torch.testing.assert_close(inputs[GIVEN == FREE], found)
    assert torch.equal(inputs[0, [0, 3]], bert.embedding.weight[[2, 3]])


def test_the_text_is_the_likeliest_token_at_each_position(bert: LanguageModel) -> None:
    prior = logits(bert, init_std=1.0)
    best = prior.logits.argmax(1).tolist()
    assert prior.read_out(prior()).tolist() == [[2, best[0], best[1], 3], [2, best[2], PADDING, PADDING]]


def test_a_problem_starts_alike_alone_and_in_a_batch(bert: LanguageModel) -> None:
    together = logits(bert)
    assert torch.equal(logits(bert, (1,), GIVEN[:1]).logits, together.logits[:2])
    # without the padding that its neighbour brings
    assert torch.equal(logits(bert, (2,), GIVEN[1:, :2]).logits, together.logits[2:])
    assert not torch.equal(logits(bert, (3, 2)).logits[:2], together.logits[:2])


def test_everything_is_to_be_found_unless_given(bert: LanguageModel) -> None:
    prior = TokenLogits()
    prior.prepare_for(bert)
    prior.initialise([0], torch.Size([5]))
    assert prior.logits.shape[0] == 5


def test_gumbel_takes_the_embedding_of_a_drawn_token_and_the_soft_gradient(bert: LanguageModel) -> None:
    prior = logits(bert, relaxation="gumbel")
    first, second = prior(), prior()
    table = bert.embedding.weight
    for inputs in (first, second):
        assert all((table == row).all(1).any() for row in inputs[GIVEN == FREE].detach())
    assert not torch.equal(first, second)
    first.sum().backward()
    assert prior.logits.grad is not None
    assert prior.logits.grad.count_nonzero() > 0.9 * prior.logits.numel()
    with torch.no_grad():  # what is only looked at is not drawn
        assert torch.equal(prior()[GIVEN == FREE], table[prior.logits.argmax(1)])


def test_gumbel_draws_tokens_as_often_as_the_softmax_says(bert: LanguageModel) -> None:
    given = torch.full((1, 4000), FREE)
    prior = logits(bert, (0,), given, init_std=0, relaxation="gumbel")
    prior.logits.data[:, 5] += 2.0
    share = (prior()[0].detach() == bert.embedding.weight[5]).all(1).float().mean().item()
    assert share == pytest.approx(prior.logits[0].softmax(0)[5].item(), abs=0.03)


def test_a_network_without_embeddings_is_refused() -> None:
    with pytest.raises(ReadoutError, match="TinyNet has no token embeddings"):
        TokenLogits().prepare_for(TinyNet())
