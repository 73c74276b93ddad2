"""softmax(logits) @ table without storing the softmax.

Peak memory is four times the logits: themselves, their gradient and AdamW's two moments.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

CHUNK_BYTES = 2**25
"""Upper bound on the bytes of probabilities in memory at once."""


def expected_embedding(logits: Tensor, table: Tensor, temperature: float = 1.0, hard: bool = False) -> Tensor:
    """Return each row's expected embedding under softmax(logits / temperature); only the logits get a gradient.

    The backward pass recomputes the probabilities, a chunk of rows at a time, so that memory beyond ``logits`` and its
    gradient does not grow with the number of rows. Under autocast both products with the table have its precision.

    Args:
        logits: Shape (rows, vocabulary).
        table: Embeddings, shape (vocabulary, width).
        temperature: Divides the logits.
        hard: Return the likeliest token's embedding, with the gradient of the expected one (straight-through).

    Returns:
        Embeddings of shape (rows, width).

    Examples:
        >>> expected_embedding(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0], [1.0]]))
        tensor([[0.5000]])
    """
    embedded: Tensor = _ExpectedEmbedding.apply(logits, table, temperature, hard)  # type: ignore[no-untyped-call]
    return embedded


class _ExpectedEmbedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, table: Tensor, temperature: float, hard: bool) -> Tensor:
        device = logits.device.type
        table = table.to(torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else logits.dtype)
        expected = logits.new_empty(len(logits), table.shape[1])
        for rows, probabilities in _softmax(logits, temperature):
            _product(probabilities, table, expected[rows])
        ctx.save_for_backward(logits, table, expected)
        ctx.temperature = temperature
        return table[logits.argmax(1)].to(logits) if hard else expected.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        logits, table, expected = ctx.saved_tensors
        gradient = gradient.to(logits.dtype)
        # softmax backward is p (d − p·d) with d = dL/dp = gradient @ tableᵀ; p·d = gradient · expected needs no table
        along = (gradient * expected).sum(1, keepdim=True)
        out = torch.empty_like(logits)
        for rows, probabilities in _softmax(logits, ctx.temperature):
            _product(gradient[rows], table.T, out[rows]).sub_(along[rows]).mul_(probabilities)
        return out.div_(ctx.temperature), None, None, None


def _softmax(logits: Tensor, temperature: float) -> Iterator[tuple[slice, Tensor]]:
    """Yield the probabilities of a chunk of rows at a time, in one reused buffer."""
    count = max(1, CHUNK_BYTES // (logits.shape[1] * logits.element_size()))
    buffer = logits.new_empty(min(count, len(logits)), logits.shape[1])
    for start in range(0, len(logits), count):
        rows = slice(start, start + count)
        chunk = buffer[: len(logits[rows])]
        torch.softmax(torch.div(logits[rows], temperature, out=chunk), 1, out=chunk)
        yield rows, chunk


def _product(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    """Write a product in the precision of ``right`` to ``out``."""
    return torch.mm(left, right, out=out) if out.dtype == right.dtype else out.copy_(left.to(right) @ right)
