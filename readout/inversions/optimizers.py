"""Which of PyTorch's implementations of an optimiser runs."""

import torch
from torch.optim import Optimizer

DEVICES = ("cpu", "cuda")
"""Where PyTorch has fused kernels for the optimisers that offer them."""


def fused(optimizer: Optimizer) -> Optimizer:
    """Let an optimiser update everything in one kernel, where it can and nobody chose otherwise.

    Answers stay the same up to rounding: the defaults, by which results are told apart, are not touched.

    Args:
        optimizer: Any optimiser, before its first step.
    """
    for group in optimizer.param_groups:
        choices = [group.get(name, False) for name in ("fused", "foreach")]  # None: PyTorch decides
        plain = not (group.get("differentiable") or group.get("capturable"))
        if choices == [None, None] and plain and all(map(_fusible, group["params"])):
            group["fused"] = True
    return optimizer


def _fusible(parameter: torch.Tensor) -> bool:
    return parameter.is_floating_point() and parameter.device.type in DEVICES
