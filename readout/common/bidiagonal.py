"""Golub–Kahan bidiagonalisation: functions of MᵀM from a few products with M."""

from collections.abc import Callable

import torch
from torch import Tensor

Operator = Callable[[Tensor], Tensor]


class Bidiagonalisation:
    """Krylov spaces of MᵀM, one per start vector, grown step by step.

    A start vector b has Ritz values θ, Ritz vectors v and coefficients a with bᵀg(MᵀM)b ≈ Σ a² g(θ) and
    g(MᵀM)b ≈ Σ a g(θ) v, for *every* function g: one run serves all noise levels, where conjugate gradients need as
    many steps for each level. Working with M rather than MᵀM keeps small singular values.

    Args:
        operator: M, from (rows, *input_shape) to (rows, *feature_shape), row by row.
        transpose: Mᵀ, from (rows, *feature_shape) to (rows, *input_shape), row by row.
        starts: b, shape (rows, *input_shape).

    Examples:
        >>> matrix = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
        >>> krylov = Bidiagonalisation(lambda rows: rows @ matrix.T, lambda rows: rows @ matrix, torch.ones(1, 2))
        >>> krylov.extend(2)
        >>> values, _, _ = krylov.ritz()  # all eigenvalues of MᵀM, after as many steps as dimensions
        >>> values.round(decimals=3).tolist()
        [[4.0, 1.0]]
    """

    breakdown = 1e-6
    """Share of the operator's norm below which a new direction is rounding: the space is exhausted."""

    def __init__(self, operator: Operator, transpose: Operator, starts: Tensor) -> None:
        self._operator, self._transpose = operator, transpose
        self._shape = starts.shape
        self._lengths = starts.flatten(1).norm(dim=1)
        self._right = [_divided(starts.flatten(1), self._lengths)]
        self._left: Tensor | None = None
        self._diagonal: list[Tensor] = []
        self._upper: list[Tensor] = []

    def __len__(self) -> int:
        """Return the number of steps taken."""
        return len(self._diagonal)

    def extend(self, steps: int) -> None:
        """Take more steps, of one product with M and one with Mᵀ each."""
        for _ in range(steps):
            self._step()

    def ritz(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return Ritz values of MᵀM, coefficients of the start vectors, and the Ritz vectors of the first row.

        Returns:
            θ ≥ 0 and coefficients a with Σ a² = ‖b‖², float64 on the CPU, both of shape (rows, steps); and the Ritz
            vectors of the first row, shape (steps, *input_shape).
        """
        diagonal = torch.stack(self._diagonal, dim=1).cpu().double()
        upper = torch.stack(self._upper, dim=1).cpu().double()[:, :-1]
        bidiagonal = torch.diag_embed(diagonal) + torch.diag_embed(upper, offset=1)
        _, singular, vectors = torch.linalg.svd(bidiagonal)  # one row of `vectors` per value
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
        # Without reorthogonalisation against all former directions, rounding brings found Ritz values back as copies.
        for _ in range(2):  # one pass leaves rounding behind, two are enough
            onward = onward - (basis @ (basis.mT @ onward.unsqueeze(2))).squeeze(2)
        beta = self._significant(onward.norm(dim=1))
        self._right.append(_divided(onward, beta))
        self._upper.append(beta)

    def _significant(self, lengths: Tensor) -> Tensor:
        """Set lengths that are rounding to 0."""
        scale = torch.stack([lengths, *self._diagonal]).amax(dim=0)
        return torch.where(lengths > self.breakdown * scale, lengths, 0)


def _rows(values: Tensor, like: Tensor) -> Tensor:
    """Reshape one value per row to broadcast."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _divided(rows: Tensor, lengths: Tensor) -> Tensor:
    """Divide rows by their lengths; a row of length 0 becomes 0."""
    safe = torch.where(lengths > 0, lengths, 1)
    return rows / _rows(safe, rows) * _rows((lengths > 0).to(rows), rows)
