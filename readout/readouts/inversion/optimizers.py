"""Optimisers of batches: fused updates, dropping finished problems, and a test that problems stay independent."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from readout.common.errors import ReadoutError, reason
from readout.problems.identity import describe, qualified_name
from readout.readouts.inversion.schedules import numbers, unwrap

DEVICES = ("cpu", "cuda")
"""Devices on which PyTorch has fused optimisers."""


ALONE = "alone"
"""Key in the description of an optimiser that couples problems, which then run one at a time."""

TRIAL_STEPS = 8
"""Steps of the trial by :func:`couples`."""

TRIAL_SHAPES: Sequence[Sequence[tuple[int, ...]]] = (((24,), (2, 3, 4)), ((24,),))
"""Parameter shapes per problem in the trial; the second set is for optimisers that take matrices only."""

ROUNDING = 1e-8
"""Relative difference in a parameter's movement that counts as rounding, in float64."""

Build = Callable[[list[nn.Parameter]], tuple[Optimizer, LRScheduler | None]]
"""Function from parameters to an optimiser and its schedule."""


def fused(optimizer: Optimizer) -> Optimizer:
    """Switch an optimiser to PyTorch's fused update, if it has one and the user chose no other.

    Results stay the same up to rounding. Only groups change, not the defaults, from which keys are made.

    Args:
        optimizer: Any optimiser, before its first step.
    """
    for group in optimizer.param_groups:
        choices = [group.get(name, False) for name in ("fused", "foreach")]  # None: PyTorch decides
        plain = not (group.get("differentiable") or group.get("capturable"))
        if choices == [None, None] and plain and all(map(_fusible, group["params"])):
            group["fused"] = True
    return optimizer


def can_drop_rows(optimizer: Optimizer) -> bool:
    """Return whether an optimiser's state can lose rows: tensors shaped like their parameter, and scalars only."""
    return all(
        not isinstance(value, torch.Tensor) or value.numel() == 1 or value.shape == parameter.shape
        for parameter, state in optimizer.state.items()
        for value in state.values()
    )


@contextmanager
def keep_rows(optimizer: Optimizer, rows: torch.Tensor) -> Iterator[None]:
    """Context in which parameters may be reduced to ``rows``; on exit, the optimiser's state is reduced likewise.

    Args:
        optimizer: Optimiser for which :func:`can_drop_rows` holds.
        rows: Indices along the first dimension.
    """
    shapes = {parameter: parameter.shape for parameter in optimizer.state}
    for parameter in shapes:
        parameter.grad = None  # it would keep the old shape
    yield
    for parameter, shape in shapes.items():
        if parameter.shape == shape:
            continue
        for name, value in optimizer.state[parameter].items():
            if isinstance(value, torch.Tensor) and value.shape == shape:
                # fused updates require the parameter's own memory layout
                optimizer.state[parameter][name] = torch.empty_like(parameter, requires_grad=False).copy_(value[rows])


def describe_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """Describe an optimiser before its first step: class, defaults, and numbers of groups that differ from them.

    Raises:
        ReadoutError: if the defaults are not plain data, from which keys are made.
    """
    try:
        described = {"class": qualified_name(type(optimizer)), **describe(optimizer.defaults)}
    except TypeError as error:
        raise ReadoutError(f"{type(optimizer).__qualname__} can't be used: {reason(error)}.") from error
    plain = numbers([optimizer.defaults])
    groups = [numbers([group]) for group in optimizer.param_groups]
    return described if all(group == plain for group in groups) else {**described, "groups": groups}


def couples(build: Build, steps: int = TRIAL_STEPS) -> bool:
    """Test whether an optimiser lets one problem's gradients move another's parameters.

    Two small problems with gradients of very different sizes are solved alone and together, in float64.

    Args:
        build: Builds the optimiser and its schedule.
        steps: Steps of the trial.

    Raises:
        ReadoutError: if the optimiser fails.

    Examples:
        >>> couples(lambda parameters: (torch.optim.AdamW(parameters, lr=0.1), None))
        False
        >>> couples(lambda parameters: (torch.optim.LBFGS(parameters, lr=0.1), None))
        True
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
    """Turn any exception of an optimiser or a schedule into a ``ReadoutError`` that names it."""
    try:
        yield
    except ReadoutError:
        raise
    except Exception as error:
        named, _ = unwrap(factory)
        name = getattr(named, "__qualname__", type(named).__name__)
        raise ReadoutError(f"{name} can't be used here: {reason(error)}.") from error


def _path(build: Build, rows: list[int], shapes: Sequence[tuple[int, ...]], steps: int) -> Iterator[Tensor]:
    """Yield how far some of the trial's problems have moved after each step, shape (problems, values)."""
    sizes = [math.prod(shape) for shape in shapes]
    # arbitrary but fixed starts: the trial needs no generator and is the same everywhere
    start = torch.arange(2.0 * sum(sizes), dtype=torch.float64).sin().view(2, -1)[rows]
    parts = zip(torch.split(start, sizes, dim=1), shapes, strict=True)
    parameters = [
        nn.Parameter(part.reshape(len(rows), *shape).clone(memory_format=torch.contiguous_format))
        for part, shape in parts
    ]
    # a coupled quantity (norm, line search, curvature) shows best where one problem's gradients dominate the other's
    steepness = torch.tensor([[1.0], [30.0]], dtype=torch.float64)[rows]
    stretch = torch.logspace(-1, 1, sum(sizes), dtype=torch.float64)

    def values() -> Tensor:
        return torch.cat([parameter.flatten(1) for parameter in parameters], dim=1)

    @torch.enable_grad()
    def closure() -> Tensor:
        optimizer.zero_grad()
        # coupled parameters and a loss that is not quadratic, so that no first step lands on the minimum
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
    """Return whether movements differ by more than rounding; NaN counts as a difference."""
    difference = (moved - other).norm(dim=1)
    return not bool((difference <= ROUNDING * other.norm(dim=1)).all())


def _fusible(parameter: torch.Tensor) -> bool:
    return parameter.is_floating_point() and parameter.device.type in DEVICES
