"""What optimisers are asked beyond their steps: to be quick, and to let problems go."""

from collections.abc import Iterator
from contextlib import contextmanager

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


def rows_can_go(optimizer: Optimizer) -> bool:
    """Whether an optimiser knows nothing but its parameters' values, one by one, and the number of its steps."""
    return all(
        not isinstance(value, torch.Tensor) or value.numel() == 1 or value.shape == parameter.shape
        for parameter, state in optimizer.state.items()
        for value in state.values()
    )


@contextmanager
def keep_rows(optimizer: Optimizer, rows: torch.Tensor) -> Iterator[None]:
    """Whatever parameters lose all but these rows inside, their optimiser's state loses all but these rows too.

    Args:
        optimizer: One of which :func:`rows_can_go`.
        rows: Indices along the first dimension.
    """
    shapes = {parameter: parameter.shape for parameter in optimizer.state}
    for parameter in shapes:
        parameter.grad = None  # has the old shape
    yield
    for parameter, shape in shapes.items():
        if parameter.shape == shape:
            continue
        for name, value in optimizer.state[parameter].items():
            if isinstance(value, torch.Tensor) and value.shape == shape:
                # fused updates need it to lie in memory as the parameter does
                optimizer.state[parameter][name] = torch.empty_like(parameter, requires_grad=False).copy_(value[rows])


def _fusible(parameter: torch.Tensor) -> bool:
    return parameter.is_floating_point() and parameter.device.type in DEVICES
