"""Positions of features and of what is read from them."""

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


class FeatureLayout:
    """Positions of a feature, each with a vector.

    A map is (channels, height, width), or (height, width, channels) where only the first two are equal. Tokens,
    (positions, channels), lie on the largest square grid that they fill; those before it, such as a class token, are
    left out. Anything else is one position.

    Args:
        shape: Shape of a feature.
        flat: Whether to take any feature as one position.

    Examples:
        >>> [FeatureLayout(shape).grid for shape in ((512, 8, 8), (7, 7, 768), (197, 768), (768,))]
        [(8, 8), (7, 7), (14, 14), None]
    """

    def __init__(self, shape: Sequence[int], flat: bool = False) -> None:
        self.grid: tuple[int, int] | None = None
        """Height and width of the map; None for one position."""
        self.size = math.prod(shape)
        """Dimensions of a vector."""
        self._channels_last = len(shape) == 2 or (len(shape) == 3 and shape[0] == shape[1] != shape[2])
        if len(shape) in (2, 3) and not flat:
            sides = shape[:-1] if self._channels_last else shape[1:]
            self.grid = (sides[0], sides[1]) if len(sides) == 2 else (math.isqrt(sides[0]), math.isqrt(sides[0]))
            self.size = shape[-1] if self._channels_last else shape[0]

    def positions(self, feature: Tensor) -> Tensor:
        """Return the vectors, shape (rows, positions, size), of features (rows, *shape)."""
        if self.grid is None:
            return feature.flatten(1).unsqueeze(1)
        if not self._channels_last:
            return feature.flatten(2).transpose(1, 2)
        return feature.reshape(len(feature), -1, self.size)[:, -math.prod(self.grid) :]


class SignalLayout:
    """Parts of a signal that belong to the positions of a feature: square patches of an image, or all of it.

    Args:
        shape: Shape of a signal; an image is (channels, height, width).
        grid: Height and width of the feature; None for one position.

    Examples:
        >>> SignalLayout((3, 64, 64), grid=(8, 8)).size
        192
    """

    def __init__(self, shape: Sequence[int], grid: tuple[int, int] | None) -> None:
        self.shape, self.grid = tuple(shape), grid
        self.doublings = 0
        self.size = math.prod(shape)
        """Values of a part."""
        if grid is not None:
            self.doublings = doublings(grid, shape[1:])
            self.size = shape[0] * 4**self.doublings

    def parts(self, signals: Tensor) -> Tensor:
        """Return the parts, shape (rows, positions, size), of signals (rows, *shape)."""
        if self.grid is None:
            return signals.flatten(1).unsqueeze(1)
        sides = [side * 2**self.doublings for side in self.grid]
        return F.pixel_unshuffle(resize(signals, sides), 2**self.doublings).flatten(2).transpose(1, 2)

    def join(self, parts: Tensor) -> Tensor:
        """Return the signals that have these parts."""
        if self.grid is None:
            return parts.reshape(-1, *self.shape)
        maps = parts.transpose(1, 2).reshape(len(parts), self.size, *self.grid)
        return resize(F.pixel_shuffle(maps, 2**self.doublings), self.shape[1:])


def doublings(grid: Sequence[int], sides: Sequence[int]) -> int:
    """Return how often a grid must double until no side of an image is larger.

    Examples:
        >>> doublings((7, 7), (64, 64))
        4
    """
    times = max(side / start for side, start in zip(sides, grid, strict=True))
    return max(0, math.ceil(math.log2(times)))


def resize(images: Tensor, sides: Sequence[int]) -> Tensor:
    """Resize images, antialiased; those of that size stay as they are."""
    if images.shape[-2:] == tuple(sides):
        return images
    return F.interpolate(images, tuple(sides), mode="bilinear", antialias=True, align_corners=False)
