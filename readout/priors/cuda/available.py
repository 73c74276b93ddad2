"""The check for hardware and software that run the kernels."""

import importlib.util
from functools import cache

import torch
from torch import Tensor

OLDEST = (8, 0)
"""Lowest compute capability (Ampere): older tensor cores have neither TF32 nor bfloat16."""

TYPES = (torch.float32, torch.bfloat16, torch.float16)


def has_kernels(tensor: Tensor) -> bool:
    """Return whether the kernels support a tensor's type and device: an Nvidia GPU from Ampere on, with Triton."""
    return tensor.is_cuda and tensor.dtype in TYPES and _triton_runs(tensor.device)


@cache
def _triton_runs(device: torch.device) -> bool:
    if torch.version.hip is not None or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= OLDEST


def kernels_pay(problems: int, pixels: int) -> bool:
    """Return whether kernels launched from Python are faster than one network of grouped convolutions.

    Launching the kernels takes about 30 ms per step at any batch size; grouped convolutions take 125 µs per problem
    and 13 ns per pixel (docs/benchmarks.md, one H200).

    Args:
        problems: Problems in the batch.
        pixels: Pixels per image.

    Examples:
        >>> [kernels_pay(problems, 224 * 224) for problems in (16, 48)]
        [False, True]
        >>> [kernels_pay(problems, 64 * 64) for problems in (64, 256)]
        [False, True]
    """
    return problems * (125e-6 + 13e-9 * pixels) > 30e-3
