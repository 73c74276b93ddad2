"""Submodules: a network whose submodules are layers under their own paths."""

from collections.abc import Iterable, Sequence

from torch import nn

from readout.extractors.base import FeatureExtractor, near_matches
from readout.extractors.watching import innermost


class Submodules(FeatureExtractor):
    """A network whose layers are all suitable submodules, not just the innermost, found by running it.

    ``all`` and ``depth:…`` choose from the innermost layers: those without layers inside them.

    Args:
        network: Network on images (N, 3, height, width).
        mean: See :class:`FeatureExtractor`.
        std: See :class:`FeatureExtractor`.

    Examples:
        >>> block = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> extractor = Submodules(nn.Sequential(block, nn.Conv2d(8, 4, 3)))
        >>> list(extractor.layers)
        ['0.0', '0.1', '0', '1']
        >>> extractor.resolve("all")
        ['0.0', '0.1', '1']
    """

    def __init__(self, network: nn.Module, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)) -> None:
        super().__init__(network, None, mean, std)

    def choose_layers(self, paths: Sequence[str]) -> list[str]:
        """Choose every submodule that qualifies; the network itself only if nothing else does."""
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
