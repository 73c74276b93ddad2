"""Learning-rate schedules: PyTorch's or a user's own, and the course that a run takes under one."""

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
"""A schedule's class, a partial of it, or a function of an optimiser and, if it takes two arguments, of the steps."""

STEP_COUNTS = ("total_iters", "total_steps", "T_max")
"""Arguments that say how many steps a schedule spans: those of the run, where they are left out."""

PARTS = "schedulers"
"""The argument of a schedule that is made of others (SequentialLR, ChainedScheduler)."""

NEVER_NEGATIVE = ("lr", "momentum", "weight_decay", "betas")

LEGACY: Mapping[type[LRScheduler], str] = {PolynomialLR: "total_iters", CosineAnnealingLR: "T_max"}
"""Schedules described without their course when they span the run, so that results of earlier versions are found."""


def late_arguments(owner: type) -> dict[str, Any]:
    """Types of the arguments that a schedule's class gets only once there is an optimiser and a number of steps."""
    if not (inspect.isclass(owner) and issubclass(owner, LRScheduler)):
        return {}
    names = constructor_arguments(owner)
    late: dict[str, Any] = {name: int | None for name in STEP_COUNTS if name in names}
    return {**late, PARTS: list[ScheduleFactory]} if PARTS in names else late


def taken_apart(factory: Any) -> tuple[Any, dict[str, Any]]:
    """The class or function behind a factory, and the arguments that are bound already."""
    if not isinstance(factory, partial):
        return factory, {}
    # the parser binds the class to functions of its own
    by_parser = str(getattr(factory.func, "__module__", "")).startswith("jsonargparse")
    classes = (each for each in factory.args if inspect.isclass(each))
    return next(classes) if by_parser else factory.func, dict(factory.keywords)


def build_schedule(factory: ScheduleFactory, optimizer: Optimizer, steps: int) -> LRScheduler:
    """Make the schedule of a run.

    Args:
        factory: What makes it.
        optimizer: Its optimiser.
        steps: Steps of the run; passed on where a step count is wanted and none was given.

    Raises:
        ReadoutError: if the schedule follows a metric.
    """
    target, given = taken_apart(factory)
    late: dict[str, Any] = {}
    if inspect.isclass(target):
        wanted = late_arguments(target)
        span_given = given.get("epochs") and given.get("steps_per_epoch")  # OneCycleLR's other way to say it
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
        raise TypeError(f"it gives a {type(schedule).__name__}, not a schedule")
    return schedule


def course(optimizer: Optimizer, schedule: LRScheduler | None = None, steps: int = 1) -> list[dict[str, float]]:
    """The numbers in an optimiser's groups (rates, momenta) before each step; they change with a schedule only.

    Args:
        optimizer: Not used any more afterwards.
        schedule: The same.
        steps: Steps of the run.

    Raises:
        ReadoutError: if one makes no sense.
    """
    seen: list[dict[str, float]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the schedule is ahead of its optimiser here
        for step in range(steps):
            seen.append(numbers(optimizer.param_groups))
            _check(seen[-1], qualified_name(type(optimizer)), step)
            if schedule:
                schedule.step()
    return seen


def describe_schedule(optimizer: Optimizer, schedule: LRScheduler, steps: int) -> dict[str, Any]:
    """What tells a schedule apart: its class, its plain settings and the course it takes.

    Args:
        optimizer: Its optimiser; neither is used any more afterwards.
        schedule: As it is before the first step.
        steps: Steps of the run.

    Raises:
        ReadoutError: if a number makes no sense.
    """
    state = {key: value for key, value in schedule.state_dict().items() if not key.startswith("_")}
    described: dict[str, Any] = {"class": qualified_name(type(schedule))}
    for key, value in state.items():
        try:
            described[key] = describe(value)
        except TypeError:  # no plain data; what it does is in the course
            continue
    count = LEGACY.get(type(schedule))
    if count and described.get(count) == steps:
        course(optimizer, schedule, min(steps, 2))  # a number that makes no sense shows at once
        return {**described, count: 1}
    seen = course(optimizer, schedule, steps)
    # rounded, because the last digits differ between machines
    return {**described, "course": digest([[f"{value:.6g}" for value in each.values()] for each in seen])}


def numbers(groups: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What is a number in an optimiser's groups, under ``GROUP.NAME.PLACE``."""
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
    """The schedules that one is made of, each for the steps between its milestones, or for all."""
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
