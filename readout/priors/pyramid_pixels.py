"""Images as sums of grids, coarse to fine."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from readout.common.checks import check_number, check_whole
from readout.common.errors import ReadoutError
from readout.priors.base import Prior
from readout.priors.pixels import total_variation as variation

OPPONENT = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""Axes of colour: luminance, red against blue, and green against both; orthogonal, not normalised."""


class PyramidPixels(Prior):
    """Free pixels in another basis: mid-grey plus a sum of bilinearly enlarged grids, each twice as fine as the last.

    Every image can be written so, as with :class:`Pixels`. But a step moves coarse structure further than fine detail,
    and luminance further than colour, as photographs vary. An optimiser therefore needs fewer steps, and one that stops
    early has fitted less of the noise. Values are not bounded: a projection to [0, 1] would mislead an optimiser that
    measures curvature.

    Args:
        coarsest: Grids are halved until their shorter side is at most this.
        chroma: Scale of colour relative to luminance, for images of three channels.
        total_variation: As in :class:`Pixels`.
        init_std: Standard deviation of the initial noise in the grids.

    Raises:
        ReadoutError: if a number is out of range.

    Examples:
        >>> prior = PyramidPixels(coarsest=2, init_std=0.0)
        >>> prior.initialise(seeds=[0], input_shape=torch.Size([1, 8, 8]))
        >>> [grid.shape[-1] for grid in prior.grids()]
        [8, 4, 2]
        >>> prior().unique().tolist()
        [0.5]
    """

    capturable = True

    def __init__(
        self, coarsest: int = 4, chroma: float = 0.3, total_variation: float = 0.0, init_std: float = 0.01
    ) -> None:
        super().__init__()
        self.coarsest = check_whole("coarsest", coarsest, 1)
        self.chroma = check_number("chroma", chroma, above=0)
        self.total_variation = check_number("total_variation", total_variation, 0)
        self.init_std = check_number("init_std", init_std, 0)

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        """See :meth:`Prior.initialise`.

        Raises:
            ReadoutError: if inputs are not images.
        """
        if len(input_shape) != 3:
            raise ReadoutError(
                f"PyramidPixels needs images, not inputs of shape {'×'.join(map(str, input_shape))}; use Pixels."
            )
        channels, *side = input_shape
        self._sides = [side]
        while min(side) > self.coarsest:
            side = [-(-length // 2) for length in side]
            self._sides.append(side)
        shape = (channels, sum(map(math.prod, self._sides)))
        noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        self.coefficients = nn.Parameter(self.init_std * torch.stack(noise))
        axes = torch.eye(channels)
        if channels == 3:
            axes = F.normalize(torch.tensor(OPPONENT), dim=1) * torch.tensor([[1.0], [self.chroma], [self.chroma]])
        self.register_buffer("axes", axes, persistent=False)

    def keep(self, rows: Tensor) -> bool:
        """See :meth:`Prior.keep`."""
        self.coefficients.data = self.coefficients.data[rows]
        return True

    def grids(self) -> list[Tensor]:
        """Return the grids, finest first, each of shape (problems, channels, height, width)."""
        parts = self.coefficients.split([math.prod(side) for side in self._sides], dim=2)
        return [part.unflatten(2, side) for part, side in zip(parts, self._sides, strict=True)]

    def forward(self) -> Tensor:
        """See :meth:`Prior.forward`."""
        image, *coarser = self.grids()
        for grid in coarser:
            image = image + F.interpolate(grid, size=image.shape[2:], mode="bilinear", align_corners=False)
        return 0.5 + torch.einsum("nahw,ac->nchw", image, self.axes)

    def penalty(self, recovered: Tensor) -> Tensor:
        """Return the weighted total variation of each image."""
        return self.total_variation * variation(recovered) if self.total_variation else super().penalty(recovered)
