"""Checks of what a user gives, numbers above all: one rule and one sentence for every constructor and option."""

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, cast

import yaml

from readout.common.errors import ReadoutError

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


def check_layer_names(name: str, given: Any) -> list[str]:
    """Return names of layers as strings, though YAML or Python may have made numbers of them.

    Args:
        name: The argument, as the user knows it.
        given: One name or several; text on its own that begins with a bracket is a list in YAML.

    Raises:
        ReadoutError: if there are none, or one is no name.
    """
    if isinstance(given, str) and given.lstrip().startswith("["):
        several = read_strings(given)
        if not isinstance(several, list) or not several or not all(isinstance(one, str) for one in several):
            raise ReadoutError(
                f"{name} is {given!r}, which is no list of names; write '[conv1_2, conv3_1]', for example."
            )
        return [str(one) for one in several]
    listed = [given] if isinstance(given, str | int) else check_list(name, given, "[conv1_2, conv3_1]")
    return [_name(name, one) for one in listed]


def check_layer_weights(name: str, given: Any) -> Any:
    """Return a weight per layer, under names as :func:`check_layer_names` makes them; anything else as it is.

    Args:
        name: The argument, as the user knows it.
        given: A mapping; text that begins with a brace is one in YAML.

    Raises:
        ReadoutError: if a name is none, or a weight is no number.
    """
    written = isinstance(given, str) and given.lstrip().startswith("{")
    weights = read_strings(given) if written else given
    if not isinstance(weights, Mapping):
        if written:
            raise ReadoutError(
                f"{name} is {given!r}, which is not YAML; write '{{conv1_2: 1, conv3_1: 0.5}}', for example."
            )
        return given
    checked: dict[str, float] = {}
    for layer, weight in weights.items():
        try:
            checked[_name(name, layer)] = float(weight)
        except (TypeError, ValueError) as error:
            raise ReadoutError(f"{name} gives {layer} the weight {weight!r}; give a number.") from error
    return checked


def read_strings(text: str) -> Any:
    """What YAML holds, with every number left as it is written; None if it is not YAML."""
    try:
        return yaml.load(text, yaml.BaseLoader)  # makes strings, lists and dictionaries only
    except yaml.YAMLError:
        return None


def _name(argument: str, given: Any) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    raise ReadoutError(f"{argument} names {given!r}, which is no text; put the layer's name in quotes.")
