"""What all kernels need to be launched."""

import functools
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.library import triton_op, wrap_triton

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton runs kernels on the CPU, in Python; it looks at the same variable when it is imported."""


def operation(name: str) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Make what launches kernels an operation that ``torch.compile`` knows.

    Args:
        name: Of the operation, without the namespace.
    """

    def wrap(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        registered = triton_op(f"readout::{name}", function, mutates_args=())

        @functools.wraps(function)
        def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            # PyTorch's way to an operation costs more time than a kernel of it takes
            result: Result = (registered if torch.compiler.is_compiling() else function)(*args, **kwargs)
            return result

        return run

    return wrap


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
