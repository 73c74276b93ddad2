"""Where kernels of our own run."""

import importlib.util
from functools import cache

import torch
from torch import Tensor

OLDEST = (8, 0)
"""Compute capability of the first GPUs whose tensor cores take everything that kernels ask of them."""

TYPES = (torch.float32, torch.bfloat16, torch.float16)


def has_kernels(tensor: Tensor) -> bool:
    """Whether there are kernels for such tensors where this one is: on GPUs by Nvidia from Ampere on, with Triton."""
    return tensor.is_cuda and tensor.dtype in TYPES and _triton_runs(tensor.device)


@cache
def _triton_runs(device: torch.device) -> bool:
    if torch.version.hip is not None or importlib.util.find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= OLDEST
