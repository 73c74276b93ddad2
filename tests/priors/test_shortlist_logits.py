from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import AdamW

from readout.common.errors import ReadoutError
from readout.common.padding import PADDING
from readout.priors import ShortlistLogits, TokenLogits
from readout.priors.tokens import FREE
from tests.tiny import Vocabulary


def shortlist(positions: int = 1, known: Tensor | None = None, **settings: Any) -> ShortlistLogits:
    """Two tokens of ten, one exchanged after every step; token i is the embedding 2 eᵢ."""
    prior = ShortlistLogits(**{"size": 2, "exchanged": 1, "interval": 1, **settings})
    prior.prepare_for(Vocabulary())
    prior.initialise([0], torch.Size([positions]), known)
    return prior


def back(prior: ShortlistLogits, gradient: Tensor) -> None:
    """One backward pass in which every position has this gradient, and the exchange that follows."""
    inputs = prior()
    inputs.backward(gradient.expand_as(inputs))
    prior()


def pull(**tokens: float) -> Tensor:
    """A gradient that is 0 but along the embeddings of these tokens."""
    gradient = torch.zeros(10)
    for name, value in tokens.items():
        gradient[int(name.removeprefix("t"))] = value
    return gradient


def test_the_first_step_moves_nothing_and_its_gradient_chooses_the_whole_list() -> None:
    prior = shortlist(positions=3)
    sampled = prior.tokens.clone()
    assert sampled.unique(dim=1).shape[1] == 2
    torch.testing.assert_close(prior()[0, 0], torch.zeros(10).index_fill(0, sampled[0], 1.0))
    back(prior, pull(t3=-1.0, t8=-2.0, t4=1.0))
    assert prior.tokens.tolist() == [[8, 3]] * 3
    assert prior.logits.grad is not None
    assert not prior.logits.grad.any()
    prior().backward(torch.ones(1, 3, 10) * pull(t8=-1.0))
    assert prior.logits.grad[0, 0] < 0 < prior.logits.grad[0, 1]


def test_a_token_that_can_win_replaces_the_least_likely_at_the_average_probability() -> None:
    prior = shortlist(size=3)
    back(prior, pull(t1=-3.0, t2=-2.0, t3=-1.0))
    prior.logits.data = torch.tensor([[2.0, -1.0, 0.5]])
    total = prior.logits.logsumexp(1)
    back(prior, pull(t1=-1.0, t7=-5.0, t8=-4.0))
    assert prior.tokens.tolist() == [[1, 7, 3]]
    torch.testing.assert_close(prior.logits.data, torch.tensor([[2.0, (total.exp() / 3).log().item(), 0.5]]))


def test_the_list_stays_while_no_token_outside_can_lower_the_loss() -> None:
    prior = shortlist()
    back(prior, pull(t1=-2.0, t2=-1.0))
    logits = prior.logits.data.clone()
    back(prior, pull(t1=-2.0, t2=-1.0, t5=-1.4, t6=3.0))  # the list's mean is -1.5
    assert prior.tokens.tolist() == [[1, 2]]
    assert torch.equal(prior.logits, logits)


def test_only_every_interval_is_the_vocabulary_priced() -> None:
    prior = shortlist(interval=3)
    back(prior, pull(t1=-2.0, t2=-1.0))
    for expected in ([1, 2], [1, 2], [1, 7]):
        prior.logits.data = torch.tensor([[1.0, 0.0]])
        back(prior, pull(t7=-1.0))
        assert prior.tokens.tolist() == [expected]


def test_a_right_token_outside_the_first_list_enters_and_wins() -> None:
    prior = shortlist(interval=5)
    back(prior, pull(t1=-2.0, t2=-1.0))  # misled: the right token is 7
    optimizer = AdamW(prior.parameters(), lr=0.5)
    for _ in range(40):
        optimizer.zero_grad()
        (prior() - 2 * torch.eye(10)[7]).square().sum().backward()
        optimizer.step()
    assert 7 in prior.tokens
    assert prior.read_out(prior()).tolist() == [[7]]


def test_with_the_whole_vocabulary_on_the_list_it_is_the_softmax_over_the_vocabulary() -> None:
    ours, full = shortlist(positions=3, size=99), TokenLogits(init_std=0)
    full.prepare_for(Vocabulary())
    full.initialise([0], torch.Size([3]))
    back(ours, torch.arange(10.0))
    values = torch.randn(3, 10, generator=torch.Generator().manual_seed(0))
    full.logits.data, ours.logits.data = values, values.gather(1, ours.tokens)
    found, expected = ours(), full()
    torch.testing.assert_close(found, expected)
    for prior, inputs in ((ours, found), (full, expected)):
        prior.zero_grad()
        (inputs - 0.3).square().sum().backward()
    assert ours.logits.grad is not None
    assert full.logits.grad is not None
    torch.testing.assert_close(ours.logits.grad, full.logits.grad.gather(1, ours.tokens))
    assert torch.equal(ours.read_out(found), full.read_out(expected))


def test_known_tokens_and_padding_have_no_list() -> None:
    prior = shortlist(positions=4, known=torch.tensor([[6, FREE, FREE, PADDING]]))
    assert prior.tokens.shape == prior.logits.shape == (2, 2)
    back(prior, pull(t9=-2.0, t8=-1.0))
    assert prior.read_out(prior()).tolist() == [[6, 9, 9, PADDING]]
    assert torch.equal(prior()[0, 0], 2 * torch.eye(10)[6])


def test_a_list_shorter_than_its_exchange_is_refused() -> None:
    with pytest.raises(ReadoutError, match="exchanged is 16, but a shortlist has 8 tokens"):
        ShortlistLogits(size=8)
