"""Learning-rate schedules: building PyTorch's or a user's own, and describing them for keys."""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, PolynomialLR, ReduceLROnPlateau

from readout.common.checks import check_number
from readout.common.errors import ReadoutError
from readout.problems.identity import constructor_arguments, describe, digest, qualified_name

ScheduleFactory = Callable[..., LRScheduler]
"""A scheduler class, a partial of one, or a function of the optimiser and optionally the number of steps."""

STEP_COUNTS = ("total_iters", "total_steps", "T_max")
"""Arguments for the number of steps that a schedule spans; by default that of the run."""

PARTS = "schedulers"
"""Argument for the parts of a composite schedule (SequentialLR, ChainedScheduler)."""

NEVER_NEGATIVE = ("lr", "momentum", "weight_decay", "betas")

LEGACY: Mapping[type[LRScheduler], str] = {PolynomialLR: "total_iters", CosineAnnealingLR: "T_max"}
"""Schedules whose description omits the course if they span the run, so that keys of earlier versions stay valid."""


def late_arguments(owner: type) -> dict[str, Any]:
    """Return the types of a scheduler's arguments that depend on the optimiser or the number of steps."""
    if not (inspect.isclass(owner) and issubclass(owner, LRScheduler)):
        return {}
    names = constructor_arguments(owner)
    late: dict[str, Any] = {name: int | None for name in STEP_COUNTS if name in names}
    return {**late, PARTS: list[ScheduleFactory]} if PARTS in names else late


def unwrap(factory: Any) -> tuple[Any, dict[str, Any]]:
    """Return the class or function behind a factory, and its bound arguments."""
    if not isinstance(factory, partial):
        return factory, {}
    # the configuration parser's partial wraps the class in a function of its own
    by_parser = str(getattr(factory.func, "__module__", "")).startswith("jsonargparse")
    classes = (each for each in factory.args if inspect.isclass(each))
    return next(classes) if by_parser else factory.func, dict(factory.keywords)


def build_schedule(factory: ScheduleFactory, optimizer: Optimizer, steps: int) -> LRScheduler:
    """Build the schedule of a run.

    Args:
        factory: Scheduler class, partial of one, or function.
        optimizer: Optimiser to schedule.
        steps: Steps of the run, passed to arguments in :data:`STEP_COUNTS` that are not given.

    Raises:
        ReadoutError: if the schedule follows a metric.

    Examples:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> schedule = build_schedule(PolynomialLR, optimizer, steps=4)
        >>> [numbers["0.lr.0"] for numbers in course(optimizer, schedule, steps=4)]
        [1.0, 0.75, 0.5, 0.25]
    """
    target, given = unwrap(factory)
    late: dict[str, Any] = {}
    if inspect.isclass(target):
        wanted = late_arguments(target)
        span_given = given.get("epochs") and given.get("steps_per_epoch")  # OneCycleLR's alternative to total_steps
        if not span_given:
            late = {name: steps for name in STEP_COUNTS if name in wanted and given.get(name) is None}
        if PARTS in wanted:
            late[PARTS] = _build_parts(given.get(PARTS) or [], optimizer, steps, given.get("milestones") or [])
    takes_optimizer = not inspect.isclass(target) or constructor_arguments(target)[:1] != [PARTS]
    positional: list[Any] = [optimizer] if takes_optimizer else []
    if not inspect.isclass(target) and _required_positions(factory) > 1:
        positional.append(steps)
    schedule = factory(*positional, **late)
    if isinstance(schedule, ReduceLROnPlateau):
        raise ReadoutError(
            "ReduceLROnPlateau follows a metric of the whole batch, which would couple its problems; choose a schedule "
            "of the step number."
        )
    if not isinstance(schedule, LRScheduler):
        raise TypeError(f"it returns a {type(schedule).__name__}, not a schedule")
    return schedule


def course(optimizer: Optimizer, schedule: LRScheduler | None = None, steps: int = 1) -> list[dict[str, float]]:
    """Return the numbers in an optimiser's groups, such as rates and momenta, before each step.

    Args:
        optimizer: Optimiser to consume; its groups end as after the last step.
        schedule: Its schedule, which is advanced; None for constant numbers.
        steps: Steps of the run.

    Raises:
        ReadoutError: if a number is not finite, or negative where it may not be.
    """
    seen: list[dict[str, float]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of a schedule stepped before its optimiser
        for step in range(steps):
            seen.append(numbers(optimizer.param_groups))
            _check(seen[-1], qualified_name(type(optimizer)), step)
            if schedule:
                schedule.step()
    return seen


def describe_schedule(optimizer: Optimizer, schedule: LRScheduler, steps: int) -> dict[str, Any]:
    """Describe a schedule for keys: class, plain arguments, and a digest of its :func:`course`.

    Args:
        optimizer: Its optimiser; both are consumed.
        schedule: Schedule before its first step.
        steps: Steps of the run.

    Raises:
        ReadoutError: if a number in the course is invalid.
    """
    state = {key: value for key, value in schedule.state_dict().items() if not key.startswith("_")}
    described: dict[str, Any] = {"class": qualified_name(type(schedule))}
    for key, value in state.items():
        try:
            described[key] = describe(value)
        except TypeError:  # not plain data, such as a function; the course covers its effect
            continue
    count = LEGACY.get(type(schedule))
    if count and described.get(count) == steps:
        course(optimizer, schedule, min(steps, 2))  # only to refuse invalid numbers, which show in the first steps
        return {**described, count: 1}
    seen = course(optimizer, schedule, steps)
    # rounded, because last digits differ between machines
    return {**described, "course": digest([[f"{value:.6g}" for value in each.values()] for each in seen])}


def numbers(groups: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the numbers in an optimiser's groups, keyed ``GROUP.NAME.INDEX``."""
    found: dict[str, float] = {}
    for place, group in enumerate(groups):
        for name, value in group.items():
            if name == "params":
                continue
            for index, each in enumerate(value if isinstance(value, tuple | list) else [value]):
                number = each.item() if isinstance(each, Tensor) and each.numel() == 1 else each
                if isinstance(number, int | float) and not isinstance(number, bool):
                    found[f"{place}.{name}.{index}"] = number
    return found


def _build_parts(
    factories: Sequence[ScheduleFactory], optimizer: Optimizer, steps: int, milestones: Sequence[int]
) -> list[LRScheduler]:
    """Build the parts of a composite schedule, each for the steps between its milestones, or for all steps."""
    spans = dict(enumerate(max(end - start, 1) for start, end in pairwise([0, *milestones, steps])))
    return [build_schedule(each, optimizer, spans.get(place, steps)) for place, each in enumerate(factories)]


def _required_positions(function: Callable[..., Any]) -> int:
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in kinds and each.default is inspect.Parameter.empty for each in parameters)


def _check(found: Mapping[str, float], owner: str, step: int) -> None:
    for key, number in found.items():
        name = key.split(".")[1]
        where = f"{name} of {owner}" + (f" at step {step}" if step else "")
        if name in NEVER_NEGATIVE:
            check_number(where, number, low=0)
        elif number != number:
            check_number(where, number)
