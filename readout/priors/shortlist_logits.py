"""Texts as logits over a shortlist of tokens, exchanged by the gradient."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from readout.common.checks import check_whole
from readout.common.errors import ReadoutError
from readout.priors.expected_embedding import CHUNK_BYTES
from readout.priors.listed_embedding import listed_embedding
from readout.priors.tokens import FREE, TokenPrior


class ShortlistLogits(TokenPrior):
    """Logits over a shortlist of tokens at each free position; the gradient chooses which tokens are on it.

    As with :class:`TokenLogits` the network receives the expected embedding x = Σ pᵢ eᵢ under a softmax, here over
    ``size`` tokens, and the recovered text is the likeliest token at each position. The derivative of the loss with
    respect to a token's probability is dᵢ = eᵢ · ∂L/∂x. A token outside the list can lower the loss, to first order, if
    dᵢ < Σ pⱼ dⱼ. This is the pricing step of column generation, and the token with the smallest dᵢ is the vertex of a
    Frank–Wolfe step (Jaggi, 2013, ICML). So the list adapts:

    - Before the first step it is a random sample of the vocabulary. That step moves nothing; its gradient chooses the
      whole list, the ``size`` tokens with the smallest dᵢ.
    - Every ``interval`` steps the vocabulary is priced again. Of the tokens outside that can lower the loss, the
      ``exchanged`` with the smallest dᵢ replace the least likely on the list, each at the average probability.

    Steps cost as much as those of a vocabulary of ``size`` tokens, plus a product with the whole table per ``interval``
    steps. The optimum over the list is not that over the vocabulary, so this is another readout than
    :class:`TokenLogits`.

    An optimiser's moments stay with the place on the list. Those of an unlikely token are near 0, since its gradient is
    pᵢ (dᵢ − Σ pⱼ dⱼ).

    Args:
        size: Tokens per position; at most the vocabulary counts.
        exchanged: Most tokens that are replaced at once, at most ``size``.
        interval: Steps between exchanges.

    Raises:
        ReadoutError: if a number is out of range.

    Examples:
        >>> prior = ShortlistLogits(size=3, exchanged=1)
        >>> prior.embedding = nn.Embedding(10, 4)  # an inversion takes the network's
        >>> prior.initialise(seeds=[0, 1], input_shape=torch.Size([5]))
        >>> prior().shape, prior.tokens.shape, prior.read_out(prior()).shape
        (torch.Size([2, 5, 4]), torch.Size([10, 3]), torch.Size([2, 5]))
    """

    tokens: Tensor
    """Shortlists, shape (free positions, size)."""
    known: Tensor
    free: Tensor
    _step: int
    """Backward passes so far."""
    _gradient: Tensor | None
    """∂L/∂x at the free positions, if tokens are to be exchanged before the next step."""

    def __init__(self, size: int = 128, exchanged: int = 16, interval: int = 10) -> None:
        super().__init__()
        self.size = check_whole("size", size, 1)
        self.exchanged = check_whole("exchanged", exchanged, 1)
        self.interval = check_whole("interval", interval, 1)
        if exchanged > size:
            raise ReadoutError(f"exchanged is {exchanged}, but a shortlist has {size} tokens; lower it or raise size.")

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size, known: Tensor | None = None) -> None:
        """See :meth:`TokenPrior.initialise`."""
        known = self._known(seeds, input_shape, known)
        free = known == FREE
        vocabulary = self.embedding.num_embeddings
        size = min(self.size, vocabulary)
        generators = (torch.Generator().manual_seed(seed) for seed in seeds)
        sampled = [
            torch.randperm(vocabulary, generator=generator)[:size].expand(count, size)
            for count, generator in zip(free.sum(1).tolist(), generators, strict=True)
        ]
        self.logits = nn.Parameter(torch.zeros(int(free.sum()), size))
        self.register_buffer("tokens", torch.cat(sampled), persistent=False)
        self.register_buffer("known", known, persistent=False)
        self.register_buffer("free", free, persistent=False)
        self._step, self._gradient = 0, None

    def forward(self) -> Tensor:
        """Return expected embeddings, shape (problems, positions, width), after exchanging tokens if it is time."""
        table = self.embedding.weight
        optimising = torch.is_grad_enabled()
        if optimising and self._gradient is not None:
            self._exchange(self._gradient, table)
            self._gradient = None
        found = listed_embedding(self.logits.softmax(1).to(table), self.tokens, table).to(self.logits)
        if optimising:
            found.register_hook(self._take_gradient)  # type: ignore[no-untyped-call]
        inputs: Tensor = self.embedding(self.known.clamp_min(0)).to(found)
        return inputs.index_put((self.free,), found)

    def read_out(self, inputs: Tensor) -> Tensor:
        """Return the likeliest token at each position, shape (problems, positions)."""
        likeliest = self.tokens.gather(1, self.logits.argmax(1, keepdim=True))
        return self.known.masked_scatter(self.free, likeliest)

    def progress(self) -> dict[str, Any]:
        """See :meth:`Prior.progress`."""
        return {**super().progress(), "step": self._step, "gradient": self._gradient}

    def resume(self, progress: dict[str, Any]) -> None:
        """See :meth:`Prior.resume`."""
        own = ("step", "gradient")
        super().resume({name: tensor for name, tensor in progress.items() if name not in own})
        self._step, self._gradient = (progress[name] for name in own)

    def _take_gradient(self, gradient: Tensor) -> Tensor | None:
        """Count a backward pass, and keep every ``interval``-th ∂L/∂x for the exchange before the next step."""
        first = self._step == 0
        if self._step % self.interval == 0:
            self._gradient = gradient.detach().clone()
        self._step += 1
        # the first moves no logits, since it replaces their tokens
        return torch.zeros_like(gradient) if first else None

    @torch.no_grad()
    def _exchange(self, gradient: Tensor, table: Tensor) -> None:
        """Choose the list after the first step, and later exchange its least likely tokens; in place."""
        count = max(1, CHUNK_BYTES // (len(table) * table.element_size()))
        for start in range(0, len(gradient), count):
            rows = slice(start, start + count)
            derivatives = gradient[rows].to(table) @ table.T
            tokens, logits = self.tokens[rows], self.logits.data[rows]
            if self._step == 1:
                tokens.copy_(derivatives.topk(tokens.shape[1], largest=False).indices)
                continue
            current = (logits.softmax(1) * derivatives.gather(1, tokens)).sum(1, keepdim=True)
            steepest, entering = derivatives.scatter_(1, tokens, math.inf).topk(
                min(self.exchanged, tokens.shape[1]), largest=False
            )
            leaving = logits.topk(steepest.shape[1], largest=False).indices
            average = logits.logsumexp(1, keepdim=True) - math.log(logits.shape[1])
            enters = steepest < current
            tokens.scatter_(1, leaving, entering.where(enters, tokens.gather(1, leaving)))
            logits.scatter_(1, leaving, average.where(enters, logits.gather(1, leaving)))
