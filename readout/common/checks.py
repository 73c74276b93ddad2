"""Checks of user input, mostly numbers: one rule and one error sentence for all constructors and options."""

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, cast

import yaml

from readout.common.errors import ReadoutError

LARGEST_SEED = 2**32 - 1
"""Largest seed that all generators behind a sweep take; NumPy's sets the limit."""

FLOAT_BYTES = 4
"""Size of one value of an input."""


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
    """Return a finite number within its bounds, without converting ints to floats.

    Args:
        name: The argument, as the user knows it.
        value: NumPy scalars and tensors without dimensions count as numbers; booleans and text do not.
        low: Smallest allowed value.
        high: Largest allowed value.
        above: Exclusive lower bound.
        below: Exclusive upper bound.
        hint: End of the error sentence, such as ``, or null for all``.

    Raises:
        ReadoutError: if the value is anything else.

    Examples:
        >>> check_number("lr", 0.1, above=0)
        0.1
        >>> check_number("lr", -1, above=0)
        Traceback (most recent call last):
        readout.common.errors.ReadoutError: lr is -1; give a number above 0.
    """
    plain = _plain(value)
    if _finite(plain) and _within(plain, low, high, above, below):
        return cast(float, plain)
    raise _refused(name, plain, "number", _bounds(low, high, above, below), hint)


def check_whole(name: str, value: Any, low: int | None = None, high: int | None = None, hint: str = "") -> int:
    """Return a whole number within its bounds as a Python ``int``; floats such as 3.0 are refused.

    Args:
        name: The argument, as the user knows it.
        value: A Python int, NumPy integer or integer tensor without dimensions.
        low: Smallest allowed value.
        high: Largest allowed value.
        hint: End of the error sentence, such as ``, or null for all``.

    Raises:
        ReadoutError: if the value is anything else.

    Examples:
        >>> check_whole("draws", 3.0, 1)
        Traceback (most recent call last):
        readout.common.errors.ReadoutError: draws is 3.0; give a whole number of at least 1.
    """
    plain = _plain(value)
    if isinstance(plain, int) and _finite(plain) and _within(plain, low, high):
        return plain
    raise _refused(name, plain, "whole number", _bounds(low, high), hint)


def check_max_steps(steps: int, kind: str) -> int:
    """Return a Trainer's ``max_steps``.

    Args:
        steps: The number; below 1 if it is not set.
        kind: Of the steps, in one word.

    Raises:
        ReadoutError: if it is not set.
    """
    if steps < 1:
        raise ReadoutError(f"trainer.max_steps, the number of {kind} steps, is not set; set it to 1 or more.")
    return steps


def check_seed(name: str, value: Any) -> int:
    """Return a seed: a whole number from 0 to :data:`LARGEST_SEED`.

    Raises:
        ReadoutError: if the value is anything else.
    """
    return check_whole(name, value, 0, LARGEST_SEED)


def check_threshold(name: str, value: Any) -> float:
    """Return a recovery threshold t: a number above 0.

    Raises:
        ReadoutError: if the value is anything else.
    """
    return check_number(name, value, above=0, hint=", because recovery means d_X < t")


def check_list(name: str, values: Any, example: str) -> list[Any]:
    """Return the elements of any iterable as a list; text and single values are refused.

    Args:
        name: The argument, as the user knows it.
        values: An iterable.
        example: End of the error sentence, such as ``[0, 0.5, 0.9]``.

    Raises:
        ReadoutError: if ``values`` is empty or not a list.

    Examples:
        >>> check_list("levels", (0, 0.5), "[0, 0.5, 0.9]")
        [0, 0.5]
        >>> check_list("levels", 0.5, "[0, 0.5, 0.9]")
        Traceback (most recent call last):
        readout.common.errors.ReadoutError: levels is 0.5; give a list, such as [0, 0.5, 0.9].
    """
    if not isinstance(values, str | bytes) and isinstance(values, Iterable) and getattr(values, "ndim", None) != 0:
        listed = list(values)
        if listed:
            return listed
    raise ReadoutError(f"{name} is {_shown(values)}; give a list, such as {example}.")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a value that is not one of the choices.

    Raises:
        ReadoutError: if it is not.

    Examples:
        >>> check_choice("mode", "maximum", ["mean", "max"])
        Traceback (most recent call last):
        readout.common.errors.ReadoutError: mode is 'maximum'; choose 'mean' or 'max'.
    """
    if not isinstance(value, str) or value not in choices:
        raise ReadoutError(
            f"{name} is {_shown(value)}; choose {', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}."
        )


def check_shape(name: str, shape: Any, count: int = 1) -> tuple[int, ...]:
    """Return the shape of an input, after checking that ``count`` such inputs fit into this machine's memory.

    Args:
        name: The argument, as the user knows it.
        shape: Whole numbers from 1.
        count: Number of inputs of this shape.

    Raises:
        ReadoutError: if ``shape`` is anything else or too large.

    Examples:
        >>> check_shape("shape", [3, 64, 64])
        (3, 64, 64)
    """
    sides = tuple(check_whole(f"A side of {name}", side, 1) for side in check_list(name, shape, "[3, 64, 64]"))
    needed, there = count * math.prod(sides) * FLOAT_BYTES, memory()
    if needed > there:
        raise ReadoutError(
            f"{name} is {' × '.join(map(str, sides))}, of which {count:,} take {needed / 2**30:,.0f} GiB, but this "
            f"machine has {there / 2**30:,.0f} GiB of memory; ask for fewer or smaller inputs."
        )
    return sides


def check_side(name: str, value: Any) -> int:
    """Return the side of a square image in pixels: a whole number from 1 whose image fits into memory.

    Raises:
        ReadoutError: if the value is anything else.
    """
    side = check_whole(name, value, 1, hint=": the side of an image in pixels")
    check_shape(name, (3, side, side))
    return side


def memory() -> int:
    """Return the memory of this machine, or of the container around this process, in bytes."""
    import psutil

    limits = [Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes")]
    texts = [limit.read_text().strip() for limit in limits if limit.is_file()]
    # "max" means no limit
    return min([psutil.virtual_memory().total, *(int(text) for text in texts if text.isdigit())])


def _plain(value: Any) -> Any:
    """Convert NumPy scalars and tensors without dimensions to Python numbers; size-one arrays stay arrays."""
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


def check_layer_names(name: str, names: Any) -> list[str]:
    """Return names of layers as strings, also where YAML or Python has turned them into numbers.

    Args:
        name: The argument, as the user knows it.
        names: One name or several; a string that begins with a bracket is read as a YAML list.

    Raises:
        ReadoutError: if there are no names, or one is neither text nor a whole number.

    Examples:
        >>> check_layer_names("--layer", "[conv1_2, 7]")
        ['conv1_2', '7']
    """
    if isinstance(names, str) and names.lstrip().startswith("["):
        several = read_strings(names)
        if not isinstance(several, list) or not several or not all(isinstance(one, str) for one in several):
            raise ReadoutError(
                f"{name} is {names!r}, which is no list of names; write '[conv1_2, conv3_1]', for example."
            )
        return [str(one) for one in several]
    listed = [names] if isinstance(names, str | int) else check_list(name, names, "[conv1_2, conv3_1]")
    return [_name(name, one) for one in listed]


def check_layer_weights(name: str, weights: Any) -> Any:
    """Return a mapping of layers to weights with strings as keys; return anything but a mapping unchanged.

    Args:
        name: The argument, as the user knows it.
        weights: A mapping; a string that begins with a brace is read as a YAML mapping.

    Raises:
        ReadoutError: if a key is neither text nor a whole number, or a weight is not a number.

    Examples:
        >>> check_layer_weights("--layer_weights", "{conv1_2: 1, 7: 0.5}")
        {'conv1_2': 1.0, '7': 0.5}
    """
    written = isinstance(weights, str) and weights.lstrip().startswith("{")
    by_layer = read_strings(weights) if written else weights
    if not isinstance(by_layer, Mapping):
        if written:
            raise ReadoutError(
                f"{name} is {weights!r}, which is not YAML; write '{{conv1_2: 1, conv3_1: 0.5}}', for example."
            )
        return weights
    checked: dict[str, float] = {}
    for layer, weight in by_layer.items():
        try:
            checked[_name(name, layer)] = float(weight)
        except (TypeError, ValueError) as error:
            raise ReadoutError(f"{name} gives {layer} the weight {weight!r}; give a number.") from error
    return checked


def read_strings(text: str) -> Any:
    """Parse YAML with all scalars as strings, so that numbers stay as written; return None if it is not YAML."""
    try:
        return yaml.load(text, yaml.BaseLoader)  # makes strings, lists and dictionaries only
    except yaml.YAMLError:
        return None


def _name(argument: str, name: Any) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    raise ReadoutError(f"{argument} names {name!r}, which is not text; put the layer's name in quotes.")
