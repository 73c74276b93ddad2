"""The U-Nets of many problems at once, pixel by pixel with channels last."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Layers(Protocol):
    """The layers of a generator; :mod:`readout.priors.cuda.plain` says what they are to do."""

    def convolved(
        self, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, pooled: bool
    ) -> tuple[Tensor, Tensor | None]:
        """ReLU of the instance norm of a convolution, and its maxima of 2×2 pixels if wanted."""

    def joined(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Coarse pixels grown to the size of the skip, with the skip's channels behind."""

    def projected(self, x: Tensor, weight: Tensor) -> Tensor:
        """Convolution of single pixels."""


def generate(weights: Sequence[Tensor], latents: Tensor, scales: int, layers: Layers) -> Tensor:
    """Images of :class:`readout.priors.unet.UNet`, each by weights of its own.

    Args:
        weights: The network's parameters in their order, each with a first dimension of problems.
        latents: Shape (problems, channels, height, width).
        scales: Scales of the network.
        layers: What it is made of.

    Returns:
        Images in (0, 1), shaped like the latents.
    """
    device = latents.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else latents.dtype
    with torch.autocast(device, enabled=False):
        return _generate(iter(weights), latents.to(dtype), scales, layers)


def _generate(weights: Iterator[Tensor], latents: Tensor, scales: int, layers: Layers) -> Tensor:
    x: Tensor = latents.movedim(1, -1).contiguous()
    skips = []
    for scale in range(scales):
        coarsest = scale == scales - 1
        x, maxima = _block(layers, weights, x, pooled=not coarsest)
        if maxima is not None:
            skips.append(x)
            x = maxima
    for skip in reversed(skips):
        x, _ = _block(layers, weights, layers.joined(x, skip), pooled=False)
    weight, bias = next(weights), next(weights)
    image = layers.projected(x, weight) + bias[:, None, None].to(x.dtype)
    return image.sigmoid().movedim(-1, 1)


def _block(layers: Layers, weights: Iterator[Tensor], x: Tensor, pooled: bool) -> tuple[Tensor, Tensor | None]:
    x, _ = _layer(layers, weights, x, pooled=False)
    return _layer(layers, weights, x, pooled)


def _layer(layers: Layers, weights: Iterator[Tensor], x: Tensor, pooled: bool) -> tuple[Tensor, Tensor | None]:
    weight, _, scale, shift = (next(weights) for _ in range(4))
    return layers.convolved(x, weight, scale, shift, pooled)
