"""The layers of a generator in plain PyTorch: what kernels are held against."""

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-5
"""What instance norm adds to variances."""


def convolved(x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, pooled: bool) -> tuple[Tensor, Tensor | None]:
    """ReLU of the instance norm of a convolution over the input's reflection.

    The convolution has no bias: the norm would take it away again.

    Args:
        x: Shape (problems, height, width, channels in), height and width at least 2.
        weight: Shape (problems, channels out, channels in, 3, 3).
        scale: Of the norm, shape (problems, channels out).
        shift: Likewise.
        pooled: Whether the maxima of 2×2 pixels are wanted too.

    Returns:
        The output, shape (problems, height, width, channels out), and the maxima.
    """
    y = convolution(x, weight)
    mean = y.mean((1, 2), keepdim=True)
    variance = (y - mean).square().mean((1, 2), keepdim=True)
    z = F.relu((y - mean) * (variance + EPS).rsqrt() * scale[:, None, None] + shift[:, None, None])
    return z, F.max_pool2d(z.movedim(-1, 1), 2).movedim(1, -1) if pooled else None


def joined(coarse: Tensor, skip: Tensor) -> Tensor:
    """Coarse pixels grown bilinearly to the size of the skip (corners not aligned), with the skip's channels behind.

    Args:
        coarse: Shape (problems, coarse height, coarse width, coarse channels).
        skip: Shape (problems, height, width, channels).
    """
    grown = F.interpolate(coarse.movedim(-1, 1), size=skip.shape[1:3], mode="bilinear", align_corners=False)
    return torch.cat([grown.movedim(1, -1), skip], dim=-1)


def projected(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution of single pixels.

    Args:
        x: Shape (problems, height, width, channels in).
        weight: Shape (problems, channels out, channels in, 1, 1).
    """
    return (x.flatten(1, 2) @ weight.flatten(2).mT).view(*x.shape[:3], -1)


def convolution(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution over the input's reflection, a group for every problem.

    Args:
        x: Shape (problems, height, width, channels in).
        weight: Shape (problems, channels out, channels in, 3, 3).
    """
    problems = len(x)
    image = F.pad(x.movedim(-1, 1), (1, 1, 1, 1), mode="reflect").flatten(0, 1).unsqueeze(0)
    y = F.conv2d(image, weight.flatten(0, 1), groups=problems)
    return y.view(problems, -1, *y.shape[2:]).movedim(1, -1)
