"""Networks that go on from a feature that was replaced."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from readout.extractors import FeatureExtractor


@contextmanager
def replaced(extractor: FeatureExtractor, layer: str, by: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let a network compute what follows a layer from a function of its feature.

    Args:
        extractor: The network.
        layer: Layer name.
        by: From the feature to what replaces it, both of shape (batch, ...).
    """

    def hook(module: object, arguments: object, output: Any) -> Any:
        moved = by(extractor.feature(output, layer))
        return moved if isinstance(output, Tensor) else (moved, *output[1:])

    handle = extractor.network.get_submodule(extractor.layers[layer]).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
