"""Singular vectors of a few rows with many dimensions, or of many rows with few."""

import torch
from torch import Tensor

CHUNK = 4096
"""Rows or columns that are held in float64 at a time."""


def thin_svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, s and V of a matrix U diag(s) V, without singular values that are zero up to rounding.

    They come from the smaller of the two Gram matrices, so nothing larger than the matrix itself and the square of its
    smaller side is made; squaring costs singular values below 1e-7 of the largest.

    Args:
        matrix: Shape (n, D), on any device.

    Returns:
        U and s in float64, shapes (n, r) and (r,), s in descending order; V in the dtype of the matrix, shape (r, D).

    Examples:
        >>> left, values, right = thin_svd(torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 4.0]]))
        >>> values.tolist(), right.abs().tolist()
        ([4.0, 3.0], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    """
    rows, columns = matrix.shape
    squares, vectors = torch.linalg.eigh(_gram(matrix if rows <= columns else matrix.T))
    squares, vectors = squares.flip(0), vectors.flip(1)
    kept = squares > max(rows, columns) * torch.finfo(squares.dtype).eps * squares[0].clamp_min(0)
    values, vectors = squares[kept].sqrt(), vectors[:, kept]
    if rows <= columns:
        parts = torch.split(matrix, CHUNK, dim=1)
        right = torch.cat([((vectors / values).T @ part.double()).to(matrix) for part in parts], dim=1)
        return vectors, values, right
    left = torch.cat([part.double() @ (vectors / values) for part in torch.split(matrix, CHUNK)])
    return left, values, vectors.T.to(matrix)


def _gram(rows: Tensor) -> Tensor:
    """Return the products of all pairs of rows in float64."""
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for part in torch.split(rows, CHUNK, dim=1):
        total += part.double() @ part.double().T
    return total
