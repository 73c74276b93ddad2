"""Checks of the numbers a user gives: one rule and one sentence for every constructor, function and option."""

import math
from numbers import Integral, Real
from typing import Any, cast

from readout.errors import ReadoutError

LARGEST_SEED = 2**32 - 1
"""Every generator behind a sweep takes seeds up to here; NumPy's takes no larger one."""


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
    """Return a whole number, once it is within its bounds; 3.0 becomes 3.

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
    if _finite(plain) and plain == int(plain) and _within(plain, low, high):
        return int(plain)
    raise _refused(name, plain, "whole number", _bounds(low, high), hint)


def check_seed(name: str, value: Any) -> int:
    """Return a seed: a whole number from 0 to :data:`LARGEST_SEED`.

    Raises:
        ReadoutError: if it is anything else.
    """
    return check_whole(name, value, 0, LARGEST_SEED)


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
    shown = f"{value:g}" if isinstance(value, float) else repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:80]} …"
    return ReadoutError(f"{name} is {shown}; give a {kind}{bounds}{hint}.")
