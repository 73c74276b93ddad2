"""Images as coefficients of a cosine transform."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from readout.common.checks import check_number
from readout.common.errors import ReadoutError
from readout.priors.base import Prior
from readout.priors.pixels import total_variation as variation

OPPONENT = ((1.0, 1.0, 1.0), (1.0, 0.0, -1.0), (1.0, -2.0, 1.0))
"""Axes of colour: luminance, red against blue, and green against both; orthogonal, not normalised."""


class CosinePixels(Prior):
    """Free pixels in another basis: mid-grey plus a discrete cosine transform, scaled as photographs vary.

    Every image can be written so, as with :class:`Pixels`; only the lengths of an optimiser's steps change. A step
    moves a frequency f by 1 / f^falloff, the spectrum of photographs (Field, 1987), and luminance further than colour.
    Fewer steps are needed, and an optimiser that stops early has fitted less of the noise. Feature visualisation uses
    the same change of variables (Olah et al., 2017, "decorrelated parameterization"). Values are not bounded: a
    projection to [0, 1] would mislead an optimiser that measures curvature, such as
    :class:`readout.readouts.BatchedLBFGS`. With Adam, which scales every parameter by itself, :class:`Pixels` read
    better.

    Args:
        falloff: Exponent of the frequency. 0 gives all frequencies the same scale.
        chroma: Scale of colour relative to luminance, for images of three channels.
        total_variation: Weight of the penalty, as in :class:`Pixels`.
        init_std: Standard deviation of the initial noise in the coefficients.
        smoothness: Weight of the mean squared coefficient: minus the log density of a Gaussian with that spectrum.
            Among the many images that a deep feature hardly tells apart, an optimiser then finds the smooth ones first.
        half_life: Steps in which that weight halves, so that in the end the feature decides; None keeps it.

    Raises:
        ReadoutError: if a number is out of range.

    Examples:
        >>> prior = CosinePixels(init_std=0.0)
        >>> prior.initialise(seeds=[0], input_shape=torch.Size([1, 2, 4]))
        >>> prior.coefficients.data[0, 0, 0, 0] = 1.0  # the mean
        >>> prior().shape, prior().unique().numel()
        (torch.Size([1, 1, 2, 4]), 1)
    """

    rows: Tensor
    columns: Tensor
    scale: Tensor
    axes: Tensor
    age: Tensor
    """Steps so far; a whole number, which no precision rounds."""

    def __init__(
        self,
        falloff: float = 1.0,
        chroma: float = 0.3,
        total_variation: float = 0.0,
        init_std: float = 0.01,
        smoothness: float = 0.0,
        half_life: float | None = None,
    ) -> None:
        super().__init__()
        self.falloff = check_number("falloff", falloff, 0)
        self.chroma = check_number("chroma", chroma, above=0)
        self.total_variation = check_number("total_variation", total_variation, 0)
        self.init_std = check_number("init_std", init_std, 0)
        self.smoothness = check_number("smoothness", smoothness, 0)
        self.half_life = None if half_life is None else check_number("half_life", half_life, above=0)
        self.capturable = half_life is None  # steps before a capture would count

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        """See :meth:`Prior.initialise`.

        Raises:
            ReadoutError: if inputs are not images.
        """
        if len(input_shape) != 3:
            shape = " × ".join(map(str, input_shape))
            raise ReadoutError(f"CosinePixels needs images, not inputs of shape {shape}; use Pixels.")
        channels, height, width = input_shape
        noise = [torch.randn(input_shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        self.coefficients = nn.Parameter(self.init_std * torch.stack(noise))
        axes, chroma = torch.eye(channels), torch.ones(channels)
        if channels == 3:
            axes, chroma[1:] = F.normalize(torch.tensor(OPPONENT), dim=1), self.chroma
        shared = {"rows": cosines(height), "columns": cosines(width), "axes": axes}
        shared["scale"] = chroma.view(-1, 1, 1) * spectrum(height, width, self.falloff)
        shared["age"] = torch.zeros((), dtype=torch.long)
        for name, value in shared.items():
            self.register_buffer(name, value, persistent=False)

    def start_from(self, inputs: Tensor) -> None:
        """Move the parameters of :meth:`initialise` to where they give these inputs, each with its own noise.

        Args:
            inputs: Shape (problems, *input_shape).
        """
        self.coefficients.data += self._coefficients(inputs)

    def keep(self, rows: Tensor) -> bool:
        """See :meth:`Prior.keep`."""
        self.coefficients.data = self.coefficients.data[rows]
        return True

    def forward(self) -> Tensor:
        """See :meth:`Prior.forward`; a call with gradients is a step."""
        self.age += torch.is_grad_enabled()
        with torch.autocast(self.age.device.type, enabled=False):  # takes no time, and bfloat16 would round the image
            planes = self.rows.T @ (self.scale * self.coefficients) @ self.columns
            return 0.5 + torch.einsum("nahw,ac->nchw", planes, self.axes)

    def penalty(self, recovered: Tensor) -> Tensor:
        """Return the weighted total variation of each image and mean square of its coefficients."""
        penalty = self.total_variation * variation(recovered) if self.total_variation else super().penalty(recovered)
        if not self.smoothness:
            return penalty
        weight = self.smoothness * (1 if self.half_life is None else 2 ** (-self.age / self.half_life))
        return penalty + weight * self._coefficients(recovered).square().flatten(1).mean(1)

    def _coefficients(self, images: Tensor) -> Tensor:
        """Return the coefficients of images, shape (problems, channels, height, width)."""
        rows, columns, scale, axes = (each.to(images) for each in (self.rows, self.columns, self.scale, self.axes))
        with torch.autocast(images.device.type, enabled=False):
            return rows @ torch.einsum("nchw,ac->nahw", images - 0.5, axes) @ columns.T / scale


def cosines(count: int) -> Tensor:
    """Return the orthonormal cosine transform (DCT-II) of ``count`` values, one frequency per row.

    Examples:
        >>> torch.allclose(cosines(5) @ cosines(5).T, torch.eye(5), atol=1e-6)
        True
    """
    frequency, place = torch.arange(count).view(-1, 1), torch.arange(count) + 0.5
    waves = torch.cos(math.pi / count * frequency.double() * place.double())
    waves[1:] *= math.sqrt(2)
    return (waves / math.sqrt(count)).float()


def spectrum(height: int, width: int, falloff: float) -> Tensor:
    """Return 1 / f^falloff for each frequency of the transform, with root mean square 1; shape (height, width).

    Frequencies count half-periods along the longer side, and those below 1 count as 1.

    Examples:
        >>> values = spectrum(8, 8, 1.0)
        >>> round(float(values[0, 1] / values[0, 4]), 6)
        4.0
    """
    longer = max(height, width)
    down = torch.arange(height).view(-1, 1) * longer / height
    across = torch.arange(width) * longer / width
    values = torch.hypot(down, across).clamp_min(1) ** -falloff
    return values / values.square().mean().sqrt()
