"""Texts as logits over a vocabulary: the paper's prior for language models."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from readout.common.checks import check_choice, check_number
from readout.priors.expected_embedding import expected_embedding
from readout.priors.tokens import FREE, TokenPrior


class TokenLogits(TokenPrior):
    """Logits over the vocabulary at each free position; padding and known special tokens have none.

    The network receives the expected embedding under the softmax; the recovered text is the likeliest token at each
    position.

    Args:
        temperature: Divides the logits before the softmax. The paper does not state it; 1 by default.
        init_std: Standard deviation of the initial logits around 0, where all tokens are equally likely.
        relaxation: ``"softmax"`` (the paper's) or ``"gumbel"``: each step draws one token by Gumbel noise and takes
            its embedding, with the softmax's gradient (straight-through; Jang et al., 2017, arXiv 1611.01144).

    Raises:
        ReadoutError: if ``relaxation`` is neither, or a number is out of range.

    Examples:
        >>> prior = TokenLogits()
        >>> prior.embedding = nn.Embedding(10, 4)  # an inversion takes the network's
        >>> prior.initialise(seeds=[0, 1], input_shape=torch.Size([3]))
        >>> prior().shape, prior.read_out(prior()).shape
        (torch.Size([2, 3, 4]), torch.Size([2, 3]))
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
            # problem by problem, each from its own generator, so that its logits do not depend on the batch
            torch.randn(count, width, generator=generator, out=logits[start : start + count])
            start += count
        self.logits = nn.Parameter(logits.mul_(self.init_std))
        self._generators, self._counts = generators, free.sum(1).tolist()
        self.register_buffer("known", known, persistent=False)
        self.register_buffer("free", free, persistent=False)

    def forward(self) -> Tensor:
        """Return expected embeddings, shape (problems, positions, width)."""
        # no noise outside of optimisation: evaluation takes the likeliest token and draws nothing
        noisy = self.relaxation == "gumbel" and torch.is_grad_enabled()
        scores = self.logits + self._gumbel() if noisy else self.logits
        found = expected_embedding(scores, self.embedding.weight, self.temperature, hard=self.relaxation == "gumbel")
        inputs: Tensor = self.embedding(self.known.clamp_min(0)).to(found)
        return inputs.index_put((self.free,), found)

    def read_out(self, inputs: Tensor) -> Tensor:
        """Return the likeliest token at each position, shape (problems, positions)."""
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
        """Draw Gumbel noise, −log(−log u), from each problem's generator."""
        width = self.embedding.num_embeddings
        uniform = [
            torch.rand(count, width, generator=generator)
            for count, generator in zip(self._counts, self._generators, strict=True)
        ]
        tiny = torch.finfo(torch.float32).tiny  # keeps both logarithms finite
        return -torch.cat(uniform).clamp_min_(tiny).log_().neg_().clamp_min_(tiny).log_().to(self.logits)
