"""softmax(logits) @ table, without keeping the softmax: four copies of the logits in all, with gradient and AdamW."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

CHUNK_BYTES = 2**25
"""Most bytes of probabilities alive at once."""


def expected_embedding(logits: Tensor, table: Tensor, temperature: float = 1.0, hard: bool = False) -> Tensor:
    """Expected embedding of a distribution over a vocabulary; the gradient is with respect to the logits only.

    The probabilities are made again in the backward pass, some rows at a time, so that memory beside ``logits``
    and its gradient does not grow with the number of rows.

    Args:
        logits: Shape (rows, vocabulary).
        table: Embeddings, shape (vocabulary, width).
        temperature: Divides the logits.
        hard: Take the likeliest token's embedding, with the gradient of the expected one (straight-through).

    Returns:
        Shape (rows, width).
    """
    embedded: Tensor = _ExpectedEmbedding.apply(logits, table, temperature, hard)  # type: ignore[no-untyped-call]
    return embedded


class _ExpectedEmbedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, table: Tensor, temperature: float, hard: bool) -> Tensor:
        table = table.to(logits.dtype)
        expected = logits.new_empty(len(logits), table.shape[1])
        for rows, probabilities in _softmax(logits, temperature):
            torch.mm(probabilities, table, out=expected[rows])
        ctx.save_for_backward(logits, table, expected)
        ctx.temperature = temperature
        return table[logits.argmax(1)] if hard else expected.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        logits, table, expected = ctx.saved_tensors
        gradient = gradient.to(logits.dtype)
        # of a softmax p with d = dL/dp: p (d − p·d), where p·d is the gradient's share along the expected embedding
        along = (gradient * expected).sum(1, keepdim=True)
        out = torch.empty_like(logits)
        for rows, probabilities in _softmax(logits, ctx.temperature):
            torch.mm(gradient[rows], table.T, out=out[rows]).sub_(along[rows]).mul_(probabilities)
        return out.div_(ctx.temperature), None, None, None


def _softmax(logits: Tensor, temperature: float) -> Iterator[tuple[slice, Tensor]]:
    """Probabilities of some rows at a time, always in the same place in memory."""
    count = max(1, CHUNK_BYTES // (logits.shape[1] * logits.element_size()))
    buffer = logits.new_empty(min(count, len(logits)), logits.shape[1])
    for start in range(0, len(logits), count):
        rows = slice(start, start + count)
        chunk = buffer[: len(logits[rows])]
        torch.softmax(torch.div(logits[rows], temperature, out=chunk), 1, out=chunk)
        yield rows, chunk
