"""Submodules: a network any submodule of which can be a layer, by its path."""

from collections.abc import Iterable, Sequence

from torch import nn

from readout.extractors.base import FeatureExtractor, near_matches
from readout.extractors.watching import innermost


class Submodules(FeatureExtractor):
    """A network whose layers are all submodules that can be, under their own paths, found by running it.

    ``all`` and ``depth:…`` mean the innermost ones: those with no layers inside them.

    Args:
        network: Takes images (N, 3, height, width).
        mean: See :class:`FeatureExtractor`.
        std: The same.
    """

    def __init__(self, network: nn.Module, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)) -> None:
        super().__init__(network, None, mean, std)

    def choose_layers(self, paths: Sequence[str]) -> list[str]:
        """See :meth:`FeatureExtractor.choose_layers`; all but the network itself, unless that is the only one."""
        return [path for path in paths if path] or list(paths)

    @property
    def depths(self) -> list[str]:
        """The innermost layers."""
        return innermost(self.layers)

    def resolve(self, names: str | Iterable[str]) -> list[str]:
        """See :meth:`FeatureExtractor.resolve`."""
        asked = [names] if isinstance(names, str) else list(names)
        return super().resolve([one for name in asked for one in (self.depths if name == "all" else [name])])

    def unknown(self, layer: str) -> str:
        """See :meth:`FeatureExtractor.unknown`."""
        if layer in self._faults:
            return super().unknown(layer)
        return f"{self.name} has no submodule {layer!r}.{near_matches(layer, self.layers)}"

    def _identity(self) -> dict[str, str]:
        return {path: path for path, _ in self.network.named_modules() if path}
