"""The generator's layers in plain PyTorch: the reference for the kernels."""

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-5
"""Added to variances by instance norm."""


def convolved(x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, pooled: bool) -> tuple[Tensor, Tensor | None]:
    """Apply a convolution with reflection padding, instance norm and ReLU.

    The convolution has no bias, because the norm would subtract it again.

    Args:
        x: Shape (problems, height, width, channels in), height and width at least 2.
        weight: Shape (problems, channels out, channels in, 3, 3).
        scale: Scale of the norm, shape (problems, channels out).
        shift: Shift of the norm, same shape.
        pooled: Whether to return the 2×2 max pooling of the output too.

    Returns:
        Output, shape (problems, height, width, channels out), and its max pooling or None.
    """
    y = convolution(x, weight)
    mean = y.mean((1, 2), keepdim=True)
    variance = (y - mean).square().mean((1, 2), keepdim=True)
    z = F.relu((y - mean) * (variance + EPS).rsqrt() * scale[:, None, None] + shift[:, None, None])
    return z, F.max_pool2d(z.movedim(-1, 1), 2).movedim(1, -1) if pooled else None


def joined(coarse: Tensor, skip: Tensor) -> Tensor:
    """Upsample bilinearly to the skip's size (corners not aligned), and concatenate the skip's channels.

    Args:
        coarse: Shape (problems, coarse height, coarse width, coarse channels).
        skip: Shape (problems, height, width, channels).
    """
    grown = F.interpolate(coarse.movedim(-1, 1), size=skip.shape[1:3], mode="bilinear", align_corners=False)
    return torch.cat([grown.movedim(1, -1), skip], dim=-1)


def projected(x: Tensor, weight: Tensor) -> Tensor:
    """Apply a 1×1 convolution.

    Args:
        x: Shape (problems, height, width, channels in).
        weight: Shape (problems, channels out, channels in, 1, 1).
    """
    return (x.flatten(1, 2) @ weight.flatten(2).mT).view(*x.shape[:3], -1)


def convolution(x: Tensor, weight: Tensor) -> Tensor:
    """Apply a 3×3 convolution with reflection padding, grouped by problem.

    Args:
        x: Shape (problems, height, width, channels in).
        weight: Shape (problems, channels out, channels in, 3, 3).
    """
    problems = len(x)
    image = F.pad(x.movedim(-1, 1), (1, 1, 1, 1), mode="reflect").flatten(0, 1).unsqueeze(0)
    y = F.conv2d(image, weight.flatten(0, 1), groups=problems)
    return y.view(problems, -1, *y.shape[2:]).movedim(1, -1)
