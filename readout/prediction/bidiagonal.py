"""Golub–Kahan bidiagonalisation: all that a few products with M tell of functions of MᵀM."""

from collections.abc import Callable

import torch
from torch import Tensor

Operator = Callable[[Tensor], Tensor]


class Bidiagonalisation:
    """Krylov spaces of MᵀM, one for each of several start vectors, grown step by step.

    For a start vector b it gives Ritz values θ, Ritz vectors v and coefficients a with bᵀg(MᵀM)b ≈ Σ a² g(θ) and
    g(MᵀM)b ≈ Σ a g(θ) v, for *every* function g at once: one run does what conjugate gradients do for each noise
    level anew, in as many steps. Working with M rather than MᵀM keeps small singular values.

    Args:
        operator: M, from (rows, *input_shape) to (rows, *feature_shape), each row on its own.
        transpose: Mᵀ, the other way.
        starts: b, one a row, shape (rows, *input_shape).
    """

    breakdown = 1e-6
    """A new direction below this share of the operator's norm is rounding: the space is exhausted."""

    def __init__(self, operator: Operator, transpose: Operator, starts: Tensor) -> None:
        self._operator, self._transpose = operator, transpose
        self._shape = starts.shape
        self._lengths = starts.flatten(1).norm(dim=1)
        self._right = [_divided(starts.flatten(1), self._lengths)]
        self._left: Tensor | None = None
        self._diagonal: list[Tensor] = []
        self._upper: list[Tensor] = []

    def __len__(self) -> int:
        """Steps taken."""
        return len(self._diagonal)

    def extend(self, steps: int) -> None:
        """Take some more steps: a product with M and one with Mᵀ each."""
        for _ in range(steps):
            self._step()

    def ritz(self) -> tuple[Tensor, Tensor, Tensor]:
        """Ritz values of MᵀM, and what the start vectors have of each Ritz vector.

        Returns:
            θ ≥ 0 and coefficients a with Σ a² = ‖b‖², float64 on the CPU, each of shape (rows, steps); and the Ritz
            vectors of the first row, shape (steps, *input_shape).
        """
        diagonal = torch.stack(self._diagonal, dim=1).cpu().double()
        upper = torch.stack(self._upper, dim=1).cpu().double()[:, :-1]
        bidiagonal = torch.diag_embed(diagonal) + torch.diag_embed(upper, offset=1)
        _, singular, vectors = torch.linalg.svd(bidiagonal)  # a row of `vectors` for each value
        basis = torch.stack([right[0] for right in self._right[: len(self)]])
        first = (vectors[0].to(basis) @ basis).view(-1, *self._shape[1:])
        return singular.square(), vectors[..., 0] * self._lengths.cpu().double().unsqueeze(1), first

    def _step(self) -> None:
        right = self._right[-1]
        left = self._operator(right.view(self._shape))
        if self._left is not None:
            left = left - _rows(self._upper[-1], left) * self._left
        alpha = self._significant(left.flatten(1).norm(dim=1))
        self._left = _divided(left, alpha)
        self._diagonal.append(alpha)
        onward = self._transpose(self._left).flatten(1) - alpha.unsqueeze(1) * right
        basis = torch.stack(self._right, dim=2)
        for _ in range(2):  # once leaves rounding behind, twice is enough
            onward = onward - (basis @ (basis.mT @ onward.unsqueeze(2))).squeeze(2)
        beta = self._significant(onward.norm(dim=1))
        self._right.append(_divided(onward, beta))
        self._upper.append(beta)

    def _significant(self, lengths: Tensor) -> Tensor:
        """Lengths, with those that are rounding set to 0."""
        scale = torch.stack([lengths, *self._diagonal]).amax(dim=0)
        return torch.where(lengths > self.breakdown * scale, lengths, 0)


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """One value a row, shaped to broadcast."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _divided(rows: Tensor, lengths: Tensor) -> Tensor:
    """Rows over their lengths; a row of length 0 becomes 0."""
    safe = torch.where(lengths > 0, lengths, 1)
    return rows / _rows(safe, rows) * _rows((lengths > 0).to(rows), rows)
