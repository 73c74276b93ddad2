"""The U-Nets of all problems at once, with channels last."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Layers(Protocol):
    """Implementation of the generator's layers; :mod:`readout.priors.cuda.plain` is the reference."""

    def convolved(
        self, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, pooled: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Apply convolution, instance norm and ReLU; also return the max pooling if ``pooled``."""

    def joined(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Upsample to the skip's size and concatenate the skip's channels."""

    def projected(self, x: Tensor, weight: Tensor) -> Tensor:
        """Apply a 1×1 convolution."""


def generate(weights: Sequence[Tensor], latents: Tensor, scales: int, layers: Layers) -> Tensor:
    """Run one :class:`readout.priors.unet.UNet` per problem.

    Args:
        weights: The network's parameters in order, each stacked over problems.
        latents: Shape (problems, channels, height, width).
        scales: Number of scales of the network.
        layers: Implementation of the layers.

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
    weight, _, scale, shift = (next(weights) for _ in range(4))  # the norm cancels the convolution's bias
    return layers.convolved(x, weight, scale, shift, pooled)
