"""Digests and seeds: keys of problems, and seeds of their random numbers."""

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor


def digest(value: Any) -> str:
    """Return the hex SHA-256 of a JSON-like value; equal values have equal digests on every machine.

    Examples:
        >>> digest({"level": 0.5, "draw": 0}) == digest({"draw": 0, "level": 0.5})
        True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def batch_name(keys: Iterable[str]) -> str:
    """Return the name of a batch, that of its results, its recovered inputs and its checkpoint, from its keys."""
    return digest(list(keys))[:16]


def tensor_digest(named_tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return the hex SHA-256 over the names, types, shapes and bytes of tensors."""
    sha = hashlib.sha256()
    for name, tensor in named_tensors:
        sha.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        sha.update(flat.view(torch.uint8).numpy().data)
    return sha.hexdigest()


def derive_seed(*parts: str | int) -> int:
    """Derive a 63-bit seed from these parts alone.

    Examples:
        >>> derive_seed("noise", 0) == derive_seed("noise", 0) != derive_seed("noise", 1)
        True
    """
    return int(digest(list(parts))[:16], 16) >> 1


def describe(thing: Any, skip: Sequence[str] = ()) -> Any:
    """Turn an object into plain data for keys: its class and constructor arguments.

    Every class must keep each argument of ``__init__`` under its own name, as those of this package do, unless it has a
    method ``describe`` that returns plain data.

    Args:
        thing: Plain data, or an object of such a class.
        skip: Constructor arguments to leave out.

    Raises:
        TypeError: if a constructor argument is not kept under its name.

    Examples:
        >>> from readout.priors import Pixels
        >>> describe(Pixels(total_variation=0.1), skip=["init_std"])
        {'class': 'readout.Pixels', 'clamp': True, 'total_variation': 0.1}
    """
    if thing is None or isinstance(thing, str | bool | int | float):
        return thing
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, Mapping):
        return {str(key): describe(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple | torch.nn.ModuleList):
        return [describe(value) for value in thing]
    if isinstance(thing, torch.dtype | torch.device | PurePath):
        return str(thing)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        return qualified_name(thing)
    if not skip and callable(own := getattr(thing, "describe", None)):
        return own()
    made_by_init = type(thing).__new__ is object.__new__  # type: ignore[comparison-overlap]
    if not made_by_init:  # a set, array or tensor
        raise TypeError(f"A {type(thing).__qualname__} can't be described; keep plain numbers, strings or lists.")
    described: dict[str, Any] = {"class": qualified_name(type(thing))}
    for name in constructor_arguments(type(thing)):
        if name in skip:
            continue
        if not hasattr(thing, name):
            raise TypeError(
                f"{type(thing).__qualname__} takes {name!r} but does not keep it as self.{name}; "
                "keep it, so that it can go into the key of every result."
            )
        described[name] = describe(getattr(thing, name))
    return described


def constructor_arguments(owner: type) -> list[str]:
    """List the named arguments of ``__init__``, including those of base classes if it takes ``**kwargs``."""
    names: dict[str, None] = {}
    for ancestor in owner.__mro__:
        if "__init__" not in vars(ancestor) or ancestor is object:
            continue
        _, *parameters = inspect.signature(vars(ancestor)["__init__"]).parameters.values()
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        names |= {parameter.name: None for parameter in parameters if parameter.kind not in variadic}
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            break
    return list(names)


def qualified_name(thing: Any) -> str:
    """Return the name under which a class or function goes into keys.

    Names in this package are unique, and leave out the module: moving a file must not orphan results. Everything else
    goes by module and name.

    Examples:
        >>> from readout.priors import Pixels
        >>> qualified_name(Pixels)
        'readout.Pixels'
        >>> qualified_name(torch.optim.AdamW)
        'torch.optim.adamw.AdamW'
    """
    package = __name__.partition(".")[0]
    module = package if thing.__module__.startswith(f"{package}.") else thing.__module__
    return f"{module}.{thing.__qualname__}"
