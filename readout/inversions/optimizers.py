"""What optimisers are asked beyond their steps: to be quick, to let problems go, and to keep problems apart."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from readout.common.errors import ReadoutError, reason
from readout.inversions.schedules import numbers, taken_apart
from readout.problems.identity import describe, qualified_name

DEVICES = ("cpu", "cuda")
"""Where PyTorch has fused kernels for the optimisers that offer them."""


ALONE = "alone"
"""Said of an optimiser that couples the problems of a batch, so that each has to run by itself."""

TRIAL_STEPS = 8
"""Steps in which an optimiser that couples problems has to show it."""

TRIAL_SHAPES: Sequence[Sequence[tuple[int, ...]]] = (((24,), (2, 3, 4)), ((24,),))
"""Shapes of a problem's parameters in the trial; the second where an optimiser takes matrices only."""

ROUNDING = 1e-8
"""Share of a parameter's movement that counts as rounding, in float64."""

Build = Callable[[list[nn.Parameter]], tuple[Optimizer, LRScheduler | None]]
"""Makes an optimiser of parameters, and its schedule."""


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


def describe_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """The class and defaults of an optimiser before its first step, and its groups' numbers if they are others.

    Raises:
        ReadoutError: if its defaults are no plain data, by which results could be told apart.
    """
    try:
        described = {"class": qualified_name(type(optimizer)), **describe(optimizer.defaults)}
    except TypeError as error:
        raise ReadoutError(f"{type(optimizer).__qualname__} can't be used: {reason(error)}.") from error
    plain = numbers([optimizer.defaults])
    groups = [numbers([group]) for group in optimizer.param_groups]
    return described if all(group == plain for group in groups) else {**described, "groups": groups}


def couples(build: Build, steps: int = TRIAL_STEPS) -> bool:
    """Find out by trying whether an optimiser lets one problem's gradients move another's parameters.

    Two small problems with gradients of different sizes are solved alone and together, in float64.

    Args:
        build: Makes the optimiser, and its schedule.
        steps: Steps to try.

    Raises:
        ReadoutError: if the optimiser can't make a step.
    """
    for shapes in TRIAL_SHAPES:
        try:
            paths = [_path(build, rows, shapes, steps) for rows in ([0, 1], [0], [1])]
            return any(_differ(together, torch.cat(alone)) for together, *alone in zip(*paths, strict=True))
        except ReadoutError as error:
            refused = error
    raise refused


@contextmanager
def usable(factory: Any) -> Iterator[None]:
    """Turn whatever an optimiser or a schedule raises inside into a sentence that names it."""
    try:
        yield
    except ReadoutError:
        raise
    except Exception as error:
        named, _ = taken_apart(factory)
        name = getattr(named, "__qualname__", type(named).__name__)
        raise ReadoutError(f"{name} can't be used here: {reason(error)}.") from error


def _path(build: Build, rows: list[int], shapes: Sequence[tuple[int, ...]], steps: int) -> Iterator[Tensor]:
    """How far some of the trial's problems have moved after each step, shape (problems, values)."""
    sizes = [math.prod(shape) for shape in shapes]
    start = torch.arange(2.0 * sum(sizes), dtype=torch.float64).sin().view(2, -1)[rows]
    parts = zip(torch.split(start, sizes, dim=1), shapes, strict=True)
    parameters = [
        nn.Parameter(part.reshape(len(rows), *shape).clone(memory_format=torch.contiguous_format))
        for part, shape in parts
    ]
    steepness = torch.tensor([[1.0], [30.0]], dtype=torch.float64)[rows]
    stretch = torch.logspace(-1, 1, sum(sizes), dtype=torch.float64)

    def values() -> Tensor:
        return torch.cat([parameter.flatten(1) for parameter in parameters], dim=1)

    @torch.enable_grad()
    def closure() -> Tensor:
        optimizer.zero_grad()
        off = (values() + values().roll(1, 1) / 2 - 1).square()
        loss = (steepness * (stretch * off + (1 + off).sqrt())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer, schedule = build(parameters)
    for _ in range(steps):
        with usable(type(optimizer)):
            optimizer.step(closure)  # type: ignore[arg-type]
            if schedule:
                schedule.step()
        yield values().detach() - start


def _differ(moved: Tensor, other: Tensor) -> bool:
    """Whether problems have moved otherwise than by rounding, or it can't be told."""
    difference = (moved - other).norm(dim=1)
    return not bool((difference <= ROUNDING * other.norm(dim=1)).all())


def _fusible(parameter: torch.Tensor) -> bool:
    return parameter.is_floating_point() and parameter.device.type in DEVICES
