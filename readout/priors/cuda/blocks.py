"""How much of a convolution one program takes on."""

from typing import NamedTuple

import torch


class Blocks(NamedTuple):
    """Block sizes of an implicit matrix product (rows × columns, in steps along what is summed) and their warps."""

    rows: int
    columns: int
    depth: int
    warps: int = 4
    stages: int = 3


PIXELS_A_SHARE = 1568
"""Pixels whose part of a weight's gradient is summed by one program, about; whatever the number of problems."""


def blocks_of(kernel: str, channels_in: int, channels_out: int, taps: int, dtype: torch.dtype, exact: bool) -> Blocks:
    """Block sizes for a kernel.

    Args:
        kernel: ``"forward"``, ``"input"`` or ``"weight"``.
        channels_in: Channels of the convolution's input.
        channels_out: Channels of its output.
        taps: Pixels under the kernel, 9 or 1.
        dtype: Type of the activations.
        exact: Whether float32 is multiplied as it is, without tensor cores.
    """
    half = dtype.itemsize == 2
    summed, columns = {
        "forward": (taps * channels_in, channels_out),
        "input": (taps * channels_out, channels_in),
        "weight": (64, channels_out),
    }[kernel]
    if exact:
        rows = 64 if kernel != "weight" else _between(16, taps * channels_in, 64)
        return Blocks(rows, _between(16, columns, 32), 16, stages=1)
    columns = _between(16, columns, 128 if half else 64)
    depth = _between(16, summed, 64 if half else 32)
    rows = 128 if kernel != "weight" else _between(16, taps * channels_in, 128)
    return Blocks(rows, columns, depth, warps=8 if rows * columns >= 128 * 128 else 4)


def shares_of(pixels: int) -> int:
    """Into how many parts the sum over pixels is split, at most."""
    return max(1, min(32, pixels // PIXELS_A_SHARE))


def _between(low: int, size: int, high: int) -> int:
    """The power of two that holds ``size``, within limits."""
    return max(low, min(high, 1 << (size - 1).bit_length()))
