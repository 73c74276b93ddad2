"""Turn arrays from files into features of their layers, or refuse them."""

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.external.collect import Found
from readout.external.files import Stored

Features = dict[str, dict[str, Tensor]]
"""Name → layer → feature: float32, of the layer's shape without the batch dimension."""

Rows = NDArray[Any]
"""Several features of one layer, one per row."""


def as_features(
    found: Sequence[Found], shapes: Mapping[str, Sequence[int]], model: str, input_shape: Sequence[int]
) -> Features:
    """Return features of images by name and layer, after checking every array against its layer.

    Args:
        found: Arrays from files.
        shapes: Layer → shape of its feature, without the batch dimension.
        model: Name of the network, for messages.
        input_shape: Shape of the inputs for which the layers have these shapes.

    Raises:
        ReadoutError: if an array does not fit its layer or holds values that can't be used, if two features share a
            name, or if one lacks a layer that another has.

    Examples:
        >>> found = [Found("cats.npy", "conv1", "cat", np.random.default_rng(0).normal(size=(2, 4, 8, 8)))]
        >>> features = as_features(found, {"conv1": (4, 8, 8)}, "Net", (3, 16, 16))
        >>> {name: by_layer["conv1"].shape for name, by_layer in features.items()}
        {'cat_000': torch.Size([4, 8, 8]), 'cat_001': torch.Size([4, 8, 8])}
    """
    return by_name(found, list(shapes), lambda one: _rows(one, tuple(shapes[one.layer]), model, input_shape))


def by_name(found: Sequence[Found], layers: Sequence[str], as_rows: Callable[[Found], Rows]) -> Features:
    """Return features by name and layer.

    Args:
        found: Arrays from files.
        layers: The layers, in the network's order.
        as_rows: Turns an array into features of its layer, or refuses it.

    Raises:
        ReadoutError: if values can't be used, two features share a name, the layers of a name differ in their number of
            rows, or a feature lacks a layer that another has.
    """
    features: Features = {}
    counts: dict[str, dict[str, int]] = {}
    for one in found:
        _check_numbers(one, one.values)
        rows = as_rows(one)
        _check_numbers(one, rows)  # some formats' headers do not distinguish complex numbers
        if one.names is None:
            counts.setdefault(one.name, {})[one.layer] = len(rows)
        for name, row in zip(_names(one, len(rows)), rows, strict=True):
            of_name = features.setdefault(name, {})
            if one.layer in of_name:
                raise ReadoutError(f"Two features of {one.layer} are named {name!r}; give each its own name.")
            of_name[one.layer] = _checked(row, f"{one.where} ({name})" if len(rows) > 1 else one.where)
    for name, of_layers in counts.items():
        if len({*of_layers.values()}) > 1:
            said = ", ".join(f"{count} in {layer}" for layer, count in of_layers.items())
            raise ReadoutError(
                f"The layers of {name!r} differ in their number of rows ({said}); every row is a feature, so give all "
                "layers the same number."
            )
    layers = [layer for layer in layers if any(layer in of_name for of_name in features.values())]
    for name, of_name in features.items():
        for layer in layers:
            if layer not in of_name:
                raise ReadoutError(
                    f"{name!r} has no feature of {layer}, which others have; give every layer the same features, under "
                    "the same names."
                )
    return {name: {layer: of_name[layer] for layer in layers} for name, of_name in features.items()}


def _check_numbers(found: Found, values: NDArray[Any] | Stored) -> None:
    if values.dtype.kind not in "biuf":
        raise ReadoutError(f"{found.where} holds {values.dtype} values, not real numbers; save features as floats.")
    if not values.size:
        raise ReadoutError(f"{found.where} is empty (shape {times(values.shape)}); save at least one feature.")


def _rows(found: Found, shape: tuple[int, ...], model: str, input_shape: Sequence[int]) -> Rows:
    """Return the array as (features, *shape): one feature or a batch, in the layer's shape or flattened."""
    size, actual = prod(shape), found.values.shape
    batched = len(actual) > len(shape) and actual[len(actual) - len(shape) :] == shape
    flattened = actual[-1:] == (size,) or actual == (size, 1)
    if actual == shape or batched or flattened:
        return np.asarray(found.values).reshape(-1, *shape)
    raise ReadoutError(
        f"{found.where} has shape {times(actual)}, but {found.layer} of {model} gives {times(shape)} for inputs of "
        f"{times(input_shape)} (several in one array: n × {times(shape)}; flattened: n × {size}); "
        f"{_advice(actual, shape, input_shape)}."
    )


def _advice(actual: tuple[int, ...], shape: tuple[int, ...], input_shape: Sequence[int]) -> str:
    """Suggest what to do about a wrong shape."""
    for start in range(2):
        rest = actual[start:]  # without a batch dimension, then with one
        if len(rest) != len(shape):
            continue
        turned = [order for order in permutations(range(len(shape))) if tuple(rest[axis] for axis in order) == shape]
        if turned:
            axes = (*range(start), *(axis + start for axis in turned[0]))
            return f"its axes are in another order: save `array.transpose{axes}`"
        if len(shape) == 3 and rest[0] == shape[0] and rest[1] == rest[2]:
            return f"are the features of larger or smaller inputs? Try --size {rest[1] * input_shape[-1] // shape[1]}"
    return "check the layer, and the size of the inputs (--size)"


def _names(found: Found, count: int) -> Sequence[str]:
    if found.names is None:
        return [found.name] if count == 1 else [f"{found.name}_{row:03d}" for row in range(count)]
    if len(found.names) != count:
        raise ReadoutError(
            f"{found.where} has {count} features, but its file names {len(found.names)}; give each one name."
        )
    return found.names


def _checked(row: NDArray[Any], where: str) -> Tensor:
    feature = torch.from_numpy(np.ascontiguousarray(row, dtype=np.float32))
    broken = int((~feature.isfinite()).sum())
    if broken:
        raise ReadoutError(f"{broken} of {feature.numel()} values in {where} are NaN or infinite; leave it out.")
    if feature.min() == feature.max() and feature.numel() > 1:
        raise ReadoutError(f"{where} has the same value everywhere, so it tells nothing about an input; leave it out.")
    return feature


def times(shape: Sequence[int]) -> str:
    """Return a shape as text, such as ``3 × 64 × 64``."""
    return " × ".join(map(str, shape)) or "one number"
