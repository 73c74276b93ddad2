"""Texts as logits over a vocabulary, the paper's parameters for language models."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from readout.common.checks import check_choice, check_number
from readout.priors.expected_embedding import expected_embedding
from readout.priors.tokens import FREE, TokenPrior


class TokenLogits(TokenPrior):
    """Logits at every position to find; their softmax weighs the vocabulary's embeddings.

    The network takes the expected embedding; the text is the likeliest token at each position. Only positions to
    find have logits: none are spent on padding or on special tokens that are known.

    Args:
        temperature: Divides the logits before the softmax; the paper does not say, 1 here.
        init_std: Standard deviation of the initial logits around 0, where every token is as likely.
        relaxation: ``"softmax"`` (the paper's), or ``"gumbel"``: at each step one token is drawn by Gumbel noise and
            its embedding taken, with the softmax's gradient (straight-through; Jang et al., 2017, arXiv 1611.01144).

    Raises:
        ReadoutError: if a number is out of range.
    """

    known: Tensor
    free: Tensor

    def __init__(
        self,
        temperature: float = 1.0,
        init_std: float = 0.01,
        relaxation: Literal["softmax", "gumbel"] = "softmax",
    ) -> None:
        super().__init__()
        check_choice("relaxation", relaxation, ("softmax", "gumbel"))
        self.temperature = check_number("temperature", temperature, above=0)
        self.init_std = check_number("init_std", init_std, 0)
        self.relaxation = relaxation

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size, known: Tensor | None = None) -> None:
        """See :meth:`TokenPrior.initialise`."""
        known = self._known(seeds, input_shape, known)
        free = known == FREE
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        width = self.embedding.num_embeddings
        logits = torch.empty(int(free.sum()), width)
        start = 0
        for count, generator in zip(free.sum(1).tolist(), generators, strict=True):
            # one row after another, so that a problem's logits do not depend on what else is in the batch
            torch.randn(count, width, generator=generator, out=logits[start : start + count])
            start += count
        self.logits = nn.Parameter(logits.mul_(self.init_std))
        self._generators, self._counts = generators, free.sum(1).tolist()
        self.register_buffer("known", known, persistent=False)
        self.register_buffer("free", free, persistent=False)

    def forward(self) -> Tensor:
        """Expected embeddings, shape (problems, positions, width)."""
        # without a gradient the inputs are only looked at, and take the likeliest token, not a drawn one
        noisy = self.relaxation == "gumbel" and torch.is_grad_enabled()
        scores = self.logits + self._gumbel() if noisy else self.logits
        found = expected_embedding(scores, self.embedding.weight, self.temperature, hard=self.relaxation == "gumbel")
        inputs: Tensor = self.embedding(self.known.clamp_min(0)).to(found)
        return inputs.index_put((self.free,), found)

    def read_out(self, inputs: Tensor) -> Tensor:
        """The likeliest token at each position, shape (problems, positions)."""
        return self.known.masked_scatter(self.free, self.logits.argmax(1))

    def progress(self) -> dict[str, Any]:
        """See :meth:`Prior.progress`."""
        return {**super().progress(), "drawn": [generator.get_state() for generator in self._generators]}

    def resume(self, progress: dict[str, Any]) -> None:
        """See :meth:`Prior.resume`."""
        super().resume({name: tensor for name, tensor in progress.items() if name != "drawn"})
        for generator, state in zip(self._generators, progress["drawn"], strict=True):
            generator.set_state(state)

    def _gumbel(self) -> Tensor:
        """Gumbel noise, each problem's from its own generator."""
        width = self.embedding.num_embeddings
        uniform = [
            torch.rand(count, width, generator=generator)
            for count, generator in zip(self._counts, self._generators, strict=True)
        ]
        tiny = torch.finfo(torch.float32).tiny
        return -torch.cat(uniform).clamp_min_(tiny).log_().neg_().clamp_min_(tiny).log_().to(self.logits)
