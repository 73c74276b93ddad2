"""Block sizes of the convolution kernels."""

from typing import NamedTuple

import torch


class Blocks(NamedTuple):
    """Block of an implicit matrix product: rows × columns of the result, and the depth of one step of its sum."""

    rows: int
    columns: int
    depth: int
    warps: int = 4
    stages: int = 3


PIXELS_PER_SHARE = 1568
"""Approximate pixels per program in a weight's gradient; must not depend on the number of problems."""


def blocks_of(kernel: str, channels_in: int, channels_out: int, taps: int, dtype: torch.dtype, exact: bool) -> Blocks:
    """Choose block sizes by the layer alone: results must not depend on the number of problems.

    Args:
        kernel: ``"forward"``, ``"input"`` (gradient) or ``"weight"`` (gradient).
        channels_in: Channels of the convolution's input.
        channels_out: Channels of its output.
        taps: Pixels under the convolution kernel, 9 or 1.
        dtype: Type of the activations.
        exact: Whether float32 is multiplied exactly, without tensor cores.
    """
    half = dtype.itemsize == 2  # twice the values fit into the same shared memory
    summed, columns = {
        "forward": (taps * channels_in, channels_out),
        "input": (taps * channels_out, channels_in),
        "weight": (64, channels_out),
    }[kernel]
    if exact:  # FMA units hold operands in registers, which tensor cores spare: smaller blocks
        rows = 64 if kernel != "weight" else _block_size(16, taps * channels_in, 64)
        return Blocks(rows, _block_size(16, columns, 32), 16, stages=1)
    columns = _block_size(16, columns, 128 if half else 64)
    depth = _block_size(16, summed, 64 if half else 32)
    rows = 128 if kernel != "weight" else _block_size(16, taps * channels_in, 128)
    return Blocks(rows, columns, depth, warps=8 if rows * columns >= 128 * 128 else 4)


def shares_of(pixels: int) -> int:
    """Return the largest number of parts into which a sum over pixels is split."""
    return max(1, min(32, pixels // PIXELS_PER_SHARE))


def _block_size(low: int, size: int, high: int) -> int:
    """Round up to a power of two within limits; Triton's blocks are powers of two, its products at least 16 wide."""
    return max(low, min(high, 1 << (size - 1).bit_length()))
