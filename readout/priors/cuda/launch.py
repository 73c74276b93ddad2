"""What all kernels need to be launched."""

import os
from typing import Any

import torch
from torch import Tensor
from torch.library import wrap_triton

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton runs kernels on the CPU, in Python; it looks at the same variable when it is imported."""


def launching(kernel: Any) -> Any:
    """A kernel in a form that ``torch.compile`` can look into."""
    return kernel if INTERPRETED else wrap_triton(kernel)


def precision(tensor: Tensor) -> str:
    """How matrix products are taken: float32 as PyTorch is told to, anything shorter as it is."""
    exact = tensor.dtype == torch.float32 and torch.get_float32_matmul_precision() == "highest"
    return "ieee" if exact else "tf32"


def power_of_two(size: int) -> int:
    """The smallest power of two that is no smaller."""
    return 1 << (size - 1).bit_length()


def divide_up(size: int, by: int) -> int:
    """Quotient, rounded up."""
    return -(-size // by)
