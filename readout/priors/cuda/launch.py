"""What all kernels need to be launched."""

import torch
from torch import Tensor

ELEMENTS = 2048
"""Elements that one program holds at a time, where it works pixel by pixel."""


def precision(tensor: Tensor) -> str:
    """How matrix products are taken: float32 as PyTorch is told to, anything shorter as it is."""
    exact = tensor.dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest"
    return "ieee" if exact else "tf32"


def rows_at_once(block: int) -> int:
    """Pixels that one program holds, of so many channels."""
    return max(1, ELEMENTS // block)


def power_of_two(size: int) -> int:
    """The smallest power of two that is no smaller."""
    return 1 << (size - 1).bit_length()


def divide_up(size: int, by: int) -> int:
    """Quotient, rounded up."""
    return -(-size // by)
