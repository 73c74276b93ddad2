"""Residual convolutions from the resolution of a feature to that of an image."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from readout.decoders.layout import doublings, resize

SIDE = 8
"""Most pixels of a side of the map that a flat feature becomes."""


class Convolutions(nn.Module):
    """Residual blocks at the feature's resolution, and one at each doubled resolution up to the image's.

    The last layer starts at 0.

    Args:
        size: Dimensions of a position of the feature.
        grid: Height and width of the feature; None for a flat one, which becomes a small map first.
        shape: Shape of an image, (channels, height, width).
        width: Channels at the image's resolution; each coarser one has twice as many, up to ``widest``.
        widest: Most channels.
        blocks: Blocks at the feature's resolution.
    """

    def __init__(
        self, size: int, grid: tuple[int, int] | None, shape: Sequence[int], width: int, widest: int, blocks: int
    ) -> None:
        super().__init__()
        channels, *sides = shape
        self.sides = tuple(sides)
        step = 2 ** doublings((SIDE, SIDE), self.sides)
        self.grid: tuple[int, ...] = grid or tuple(math.ceil(side / step) for side in sides)
        times = doublings(self.grid, self.sides)
        widths = [min(widest, width * 2 ** (times - scale)) for scale in range(times + 1)]
        self.stem = nn.Linear(size, widths[0] * (1 if grid else math.prod(self.grid)))
        self.blocks = nn.Sequential(*[_Block(widths[0]) for _ in range(blocks)])
        self.finer = nn.ModuleList([_Doubling(*pair) for pair in pairwise(widths)])
        self.last = _zeroed(nn.Conv2d(widths[-1], channels, 3, padding=1))

    def forward(self, positions: Tensor) -> Tensor:
        """Return images, shape (rows, *shape), for vectors of shape (rows, positions, size)."""
        # for a flat feature, the values of one position are those of all places
        x = self.stem(positions).reshape(len(positions), math.prod(self.grid), -1).transpose(1, 2)
        x = self.blocks(x.reshape(*x.shape[:2], *self.grid))
        for finer in self.finer:
            x = finer(x)
        return resize(self.last(x), self.sides)


class _Block(nn.Module):
    """Two convolutions beside the identity, which the block starts as.

    A norm over each row alone lets wide blocks learn at the rate of narrow ones.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(1, width)
        self.second = _zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.second(F.relu(self.norm(self.first(x))))
        return x + added


class _Doubling(nn.Module):
    """A map of twice the resolution, and one block there."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(coarse, 4 * fine, 1)
        self.block = _Block(fine)

    def forward(self, x: Tensor) -> Tensor:
        spread = F.pixel_shuffle(self.spread(x), 2)
        # convolutions on CPUs prefer channels last, which `pixel_shuffle` does not leave
        finer: Tensor = self.block(spread.contiguous(memory_format=torch.channels_last))
        return finer


def _zeroed(convolution: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(convolution.weight)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution
