"""Checks of what a user gives, numbers above all: one rule and one sentence for every constructor and option."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, cast

from readout.errors import ReadoutError

LARGEST_SEED = 2**32 - 1
"""Every generator behind a sweep takes seeds up to here; NumPy's takes no larger one."""

FLOAT_BYTES = 4
"""Of one value of an input."""


def check_number(
    name: str,
    value: Any,
    low: float | None = None,
    high: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    hint: str = "",
) -> float:
    """Return a number as given, once it is finite and within its bounds.

    Args:
        name: The argument, as the user knows it.
        value: What was given; NumPy scalars and tensors without dimensions count as numbers, booleans and text do not.
        low: Least value allowed.
        high: Largest value allowed.
        above: The value must be larger than this.
        below: The value must be less than this.
        hint: Ends the sentence, such as ``, or null for all``.

    Raises:
        ReadoutError: if it is anything else.
    """
    plain = _plain(value)
    if _finite(plain) and _within(plain, low, high, above, below):
        return cast(float, plain)
    raise _refused(name, plain, "number", _bounds(low, high, above, below), hint)


def check_whole(name: str, value: Any, low: int | None = None, high: int | None = None, hint: str = "") -> int:
    """Return a whole number as Python's ``int``, once it is within its bounds; 3.0 is none.

    Args:
        name: The argument, as the user knows it.
        value: What was given.
        low: Least value allowed.
        high: Largest value allowed.
        hint: Ends the sentence, such as ``, or null for all``.

    Raises:
        ReadoutError: if it is anything else.
    """
    plain = _plain(value)
    if isinstance(plain, int) and _finite(plain) and _within(plain, low, high):
        return plain
    raise _refused(name, plain, "whole number", _bounds(low, high), hint)


def check_seed(name: str, value: Any) -> int:
    """Return a seed: a whole number from 0 to :data:`LARGEST_SEED`.

    Raises:
        ReadoutError: if it is anything else.
    """
    return check_whole(name, value, 0, LARGEST_SEED)


def check_threshold(name: str, value: Any) -> float:
    """Return t: a number above 0, because recovery means d_X < t.

    Raises:
        ReadoutError: if it is anything else.
    """
    return check_number(name, value, above=0, hint=", because recovery means d_X < t")


def check_list(name: str, values: Any, example: str) -> list[Any]:
    """Return a list of something, as any iterable gives it; text and single values are none.

    Args:
        name: The argument, as the user knows it.
        values: What was given.
        example: Ends the sentence, such as ``[0, 0.5, 0.9]``.

    Raises:
        ReadoutError: if it is empty or no list.
    """
    if not isinstance(values, str | bytes) and isinstance(values, Iterable) and getattr(values, "ndim", None) != 0:
        listed = list(values)
        if listed:
            return listed
    raise ReadoutError(f"{name} is {_shown(values)}; give a list, such as {example}.")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise a :class:`ReadoutError` unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ReadoutError(
            f"{name} is {_shown(value)}; choose {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}."
        )


def check_shape(name: str, shape: Any, count: int = 1) -> tuple[int, ...]:
    """Return the shape of an input: whole numbers from 1, of which so many inputs fit the memory of this machine.

    Args:
        name: The argument, as the user knows it.
        shape: What was given.
        count: Inputs of this shape.

    Raises:
        ReadoutError: if it is anything else.
    """
    sides = tuple(check_whole(f"A side of {name}", side, 1) for side in check_list(name, shape, "[3, 64, 64]"))
    needed, there = count * math.prod(sides) * FLOAT_BYTES, memory()
    if needed > there:
        raise ReadoutError(
            f"{name} is {' × '.join(map(str, sides))}, of which {count:,} take {needed / 2**30:,.0f} GiB, but there "
            f"are {there / 2**30:,.0f} GiB of memory here; ask for fewer or smaller inputs."
        )
    return sides


def check_side(name: str, value: Any) -> int:
    """Return the side of a square image in pixels: a whole number from 1, whose image fits the memory.

    Raises:
        ReadoutError: if it is anything else.
    """
    side = check_whole(name, value, 1, hint=": the side of an image in pixels")
    check_shape(name, (3, side, side))
    return side


def memory() -> int:
    """Bytes that this machine has, or the container that confines the process."""
    import psutil

    limits = [Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes")]
    given = [limit.read_text().strip() for limit in limits if limit.is_file()]
    return min([psutil.virtual_memory().total, *(int(limit) for limit in given if limit.isdigit())])


def _plain(value: Any) -> Any:
    """NumPy's scalars and tensors without dimensions as Python's own; a size-one array stays an array."""
    plain = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(plain, Real) and not isinstance(plain, int | float):
        return int(plain) if isinstance(plain, Integral) else float(plain)
    return plain


def _finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number too large for a float
        return False


def _within(
    value: float, low: float | None, high: float | None, above: float | None = None, below: float | None = None
) -> bool:
    return (
        (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
        and (below is None or value < below)
    )


def _bounds(low: float | None, high: float | None, above: float | None = None, below: float | None = None) -> str:
    if low is not None and high is not None:
        return f" from {low} to {high}"
    limits = [(" of at least ", low), (" above ", above), (" of at most ", high), (" below ", below)]
    return " and".join(f"{words}{limit}" for words, limit in limits if limit is not None)


def _refused(name: str, value: Any, kind: str, bounds: str, hint: str) -> ReadoutError:
    return ReadoutError(f"{name} is {_shown(value)}; give a {kind}{bounds}{hint}.")


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:80]} …"
