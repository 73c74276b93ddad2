"""Finding the submodules that can be layers, and their order, by running a network."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from readout.common.errors import ReadoutError

T = TypeVar("T")


def first_outputs(
    network: nn.Module, paths: Iterable[str], keep: Callable[[Any, str], T], run: Callable[[], Any]
) -> dict[str, T]:
    """Watch submodules during a forward pass.

    Args:
        network: The network.
        paths: Paths of the submodules to watch; empty for the network itself.
        keep: Called once per submodule, with the output of its first call and its path.
        run: Runs the network.

    Returns:
        Path → return value of ``keep``, in the order in which the first calls ended.
    """
    kept: dict[str, T] = {}

    def watch(_module: nn.Module, _args: Any, output: Any, path: str) -> None:
        if path not in kept:
            kept[path] = keep(output, path)

    hooks = [network.get_submodule(path).register_forward_hook(partial(watch, path=path)) for path in paths]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return kept


def find_faults(
    network: nn.Module, feature: Callable[[Any, str], Tensor], run: Callable[[Tensor], Any], x: Tensor
) -> dict[str, str]:
    """Run a network to find out which of its submodules can be layers.

    A submodule can be a layer if its first call returns real numbers that depend on the input, one row per input.
    Comparing a batch of two with a batch of one tells rows of inputs from rows of windows or tokens.

    Args:
        network: The network.
        feature: Returns the feature in a submodule's output, or raises.
        run: Runs the network on a batch of inputs.
        x: Two different inputs, shape (2, ...).

    Returns:
        Path → why the submodule can't be a layer, empty if it can. Submodules that run come first, in the order their
        first calls end.
    """
    scripted = {path for path, part in network.named_modules() if isinstance(part, torch.jit.ScriptModule)}
    paths = [path for path, _ in network.named_modules() if path not in scripted]

    def keep(output: Any, path: str) -> tuple[tuple[int, ...], bool] | str:
        try:
            found = feature(output, path)
        except ReadoutError:
            return f"returns a {type(output).__name__}, not a tensor"
        varies = found.shape[:1] != (2,) or not torch.equal(found[0], found[1])
        return tuple(found.shape), varies and found.requires_grad and found.is_floating_point()

    def seen(batch: Tensor) -> dict[str, tuple[tuple[int, ...], bool] | str]:
        return first_outputs(network, paths, keep, lambda: run(batch.detach().clone().requires_grad_()))

    with torch.enable_grad():
        two, one = seen(x), seen(x[:1])
    faults = {path: _fault(output, one.get(path)) for path, output in two.items()}
    faults |= {path: "never runs in evaluation mode" for path in paths if path not in faults}
    return faults | dict.fromkeys(scripted, "is TorchScript, which can't be watched")


def _fault(two: tuple[tuple[int, ...], bool] | str, one: tuple[tuple[int, ...], bool] | str | None) -> str:
    """Say why a submodule can't be a layer, given its outputs for two inputs and for one; empty if it can."""
    if isinstance(two, str):
        return two
    if one is None or isinstance(one, str):
        return "runs for two inputs but not for one"
    (shape, depends), (alone, _) = two, one
    if not depends:
        return "does not depend on the input, or passes no gradient to it"
    if shape[:1] != (2,) or alone != (1, *shape[1:]):
        return f"returns shape {shape} for two inputs and {alone} for one, so its rows are not the inputs"
    if torch.Size(alone).numel() == 1:
        return "returns one number per input, which has no correlation distance"
    return ""


def innermost(paths: Iterable[str]) -> list[str]:
    """Return the paths of modules that contain none of the others."""
    paths = list(paths)
    outer = {path[:end] for path in paths for end, letter in enumerate(path) if letter == "."}
    return [path for path in paths if path not in outer and (path or len(paths) == 1)]


def unwrapped(network: nn.Module) -> nn.Module:
    """Strip the wrappers of ``nn.DataParallel``, distributed training and ``torch.compile`` from a network."""
    while True:
        if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
            network = network.module
        elif isinstance(inner := getattr(network, "_orig_mod", None), nn.Module):
            network = inner
        else:
            return network


def check_made(network: nn.Module) -> None:
    """Raise a :class:`ReadoutError` if a network has lazy weights, which its first run initialises."""
    for path, weight in [*network.named_parameters(), *network.named_buffers()]:
        if nn.parameter.is_lazy(weight):
            raise ReadoutError(
                f"{path!r} of {type(network).__name__} has no values before the network's first run; run the network "
                "once on an input, or load weights."
            )


def check_values(network: nn.Module) -> None:
    """Raise a :class:`ReadoutError` if a network has weights without values."""
    for path, weight in [*network.named_parameters(), *network.named_buffers()]:
        if weight.is_meta:
            raise ReadoutError(
                f"{path!r} of {type(network).__name__} is on the meta device, without values; load weights."
            )


def check_watchable(network: nn.Module) -> None:
    """Raise a :class:`ReadoutError` if the submodules of a network can't be watched."""
    if isinstance(network, torch.jit.ScriptModule):
        raise ReadoutError(
            "The network is a TorchScript module, whose submodules can't be watched; pass the Python module it was "
            "made from."
        )
    check_values(network)
