"""Launch parameters shared by the kernels."""

import torch
from torch import Tensor

ELEMENTS = 2048
"""Elements per program in pixelwise kernels."""


def precision(tensor: Tensor) -> str:
    """Return the precision of matrix products: PyTorch's setting for float32; no effect on shorter types."""
    exact = tensor.dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest"
    return "ieee" if exact else "tf32"


def pixels_per_program(block: int) -> int:
    """Return the pixels per program for a block of channels."""
    return max(1, ELEMENTS // block)


def power_of_two(size: int) -> int:
    """Round up to a power of two."""
    return 1 << (size - 1).bit_length()


def divide_up(size: int, by: int) -> int:
    """Divide, rounding up."""
    return -(-size // by)
