# mypy: disable-error-code="import-untyped,import-not-found,no-untyped-def,no-untyped-call,untyped-decorator"
"""Instance norm and ReLU in one pass, the 2×2 maximum beside them, and the way back."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from readout.priors.cuda.launch import divide_up, power_of_two, rows_at_once


def normalise(
    y: Tensor, means: Tensor, squares: Tensor, tile: int, scale: Tensor, shift: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """ReLU of the instance norm.

    Args:
        y: Input, shape (problems, height, width, channels).
        means: Means of tiles of pixels, shape (problems, tiles, channels).
        squares: Sums of squared distances from them, likewise.
        tile: Pixels of a tile, but perhaps for the last.
        scale: Of each problem and channel.
        shift: Likewise.
        eps: Added to variances.

    Returns:
        The output, and mean and inverse standard deviation of each problem and channel.
    """
    problems, height, width, channels = y.shape
    y, scale, shift, block = y.contiguous(), scale.contiguous(), shift.contiguous(), power_of_two(channels)
    mean, spread = (y.new_empty(problems, channels, dtype=torch.float32) for _ in range(2))
    at_once = min(16, block)
    _combine[(divide_up(channels, at_once), problems)](
        means,
        squares,
        mean,
        spread,
        height * width,
        means.shape[1],
        tile,
        eps,
        channels=channels,
        block=at_once,
        tiles_at_once=128,
    )
    z = torch.empty_like(y)
    rows = rows_at_once(block)
    _normalise[(divide_up(height * width, rows), problems)](
        y, mean, spread, scale, shift, z, height * width, channels=channels, rows=rows, block=block
    )
    return z, mean, spread


def normalise_gradient(
    gradient: Tensor, y: Tensor, mean: Tensor, spread: Tensor, scale: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`normalise` with respect to ``y``, and to ``shift`` and ``scale``, stacked.

    Args:
        gradient: Of the output, shape (problems, height, width, channels); of a part of more channels, if need be.
        y: Input.
        mean: As :func:`normalise` returned it.
        spread: Likewise.
        scale: Of each problem and channel.
        shift: Likewise.
    """
    problems, height, width, channels = y.shape
    gradient, stride = by_pixels(gradient)
    y, scale, shift = y.contiguous(), scale.contiguous(), shift.contiguous()
    pixels, block = height * width, power_of_two(channels)
    rows = rows_at_once(block)
    share = 8 * rows
    parts = y.new_empty(2, problems, divide_up(pixels, share), channels, dtype=torch.float32)
    _gradient_sums[(parts.shape[2], problems)](
        gradient,
        y,
        mean,
        spread,
        scale,
        shift,
        parts,
        pixels,
        stride,
        channels=channels,
        rows=rows,
        steps=share // rows,
        block=block,
    )
    sums = parts.sum(2)
    dy = torch.empty_like(y)
    _normalise_gradient[(divide_up(pixels, rows), problems)](
        gradient,
        y,
        mean,
        spread,
        scale,
        shift,
        sums,
        dy,
        pixels,
        stride,
        channels=channels,
        rows=rows,
        block=block,
    )
    return dy, sums


def by_pixels(tensor: Tensor) -> tuple[Tensor, int]:
    """A tensor (problems, height, width, channels) whose pixels lie evenly in memory, and how far apart they do."""
    _, height, width, _ = tensor.shape
    stride = tensor.stride(2)
    if tensor.stride() != (height * width * stride, width * stride, stride, 1):
        tensor = tensor.contiguous()
    return tensor, tensor.stride(2)


@triton.jit
def _combine(
    means,
    squares,
    mean,
    spread,
    pixels,
    tiles,
    tile,
    eps,
    channels: tl.constexpr,
    block: tl.constexpr,
    tiles_at_once: tl.constexpr,
):
    """Statistics of the whole from those of its parts, after Chan, Golub and LeVeque."""
    problem = tl.program_id(1).to(tl.int64)
    n = tl.program_id(0) * block + tl.arange(0, block)
    means += problem * tiles * channels
    squares += problem * tiles * channels
    total = tl.zeros((tiles_at_once, block), tl.float32)
    for start in range(0, tiles, tiles_at_once):
        t = start + tl.arange(0, tiles_at_once)
        known = (t < tiles)[:, None] & (n < channels)[None, :]
        count = tl.minimum(pixels - t * tile, tile).to(tl.float32)[:, None]
        total += tl.load(means + (t[:, None] * channels + n[None, :]), mask=known, other=0.0) * count
    centre = tl.sum(total, 0) / pixels
    total = tl.zeros((tiles_at_once, block), tl.float32)
    for start in range(0, tiles, tiles_at_once):
        t = start + tl.arange(0, tiles_at_once)
        known = (t < tiles)[:, None] & (n < channels)[None, :]
        count = tl.minimum(pixels - t * tile, tile).to(tl.float32)[:, None]
        off = tl.load(means + (t[:, None] * channels + n[None, :]), mask=known, other=0.0) - centre[None, :]
        square = tl.load(squares + (t[:, None] * channels + n[None, :]), mask=known, other=0.0)
        total += tl.where(known, square + count * off * off, 0.0)
    variance = tl.sum(total, 0) / pixels
    tl.store(mean + problem * channels + n, centre, mask=n < channels)
    tl.store(spread + problem * channels + n, 1.0 / tl.sqrt(variance + eps), mask=n < channels)


@triton.jit
def _of_channels(tensor, problem, n, channels: tl.constexpr):
    return tl.load(tensor + problem * channels + n, mask=n < channels, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _normalise(
    y,
    mean,
    spread,
    scale,
    shift,
    z,
    pixels,
    channels: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
):
    problem = tl.program_id(1).to(tl.int64)
    n = tl.arange(0, block)
    m = tl.program_id(0) * rows + tl.arange(0, rows)
    known = (m < pixels)[:, None] & (n < channels)[None, :]
    at = m[:, None] * channels + n[None, :]
    value = tl.load(y + problem * pixels * channels + at, mask=known, other=0.0).to(tl.float32)
    value = (value - _of_channels(mean, problem, n, channels)) * _of_channels(spread, problem, n, channels)
    value = value * _of_channels(scale, problem, n, channels) + _of_channels(shift, problem, n, channels)
    # not a maximum, which would turn what is not a number into zero
    value = tl.where(value < 0.0, 0.0, value)
    tl.store(z + problem * pixels * channels + at, value.to(z.dtype.element_ty), mask=known)


@triton.jit
def _gated(
    gradient,
    y,
    problem,
    m,
    n,
    pixels,
    stride,
    mean,
    spread,
    scale,
    shift,
    channels: tl.constexpr,
):
    """The gradient behind the ReLU, and the normalised input; zeros beyond the image."""
    known = (m < pixels)[:, None] & (n < channels)[None, :]
    value = tl.load(y + problem * pixels * channels + (m[:, None] * channels + n[None, :]), mask=known, other=0.0)
    value = (value.to(tl.float32) - mean) * spread
    g = tl.load(gradient + problem * pixels * stride + (m[:, None] * stride + n[None, :]), mask=known, other=0.0)
    return tl.where(known & (value * scale + shift > 0.0), g.to(tl.float32), 0.0), value, known


@triton.jit
def _gradient_sums(
    gradient,
    y,
    mean,
    spread,
    scale,
    shift,
    parts,
    pixels,
    stride,
    channels: tl.constexpr,
    rows: tl.constexpr,
    steps: tl.constexpr,
    block: tl.constexpr,
):
    problem = tl.program_id(1).to(tl.int64)
    n = tl.arange(0, block)
    mean, spread = _of_channels(mean, problem, n, channels), _of_channels(spread, problem, n, channels)
    scale, shift = _of_channels(scale, problem, n, channels), _of_channels(shift, problem, n, channels)
    plain = tl.zeros((rows, block), tl.float32)
    weighted = tl.zeros((rows, block), tl.float32)
    for step in range(steps):
        m = (tl.program_id(0) * steps + step) * rows + tl.arange(0, rows)
        g, value, _ = _gated(gradient, y, problem, m, n, pixels, stride, mean, spread, scale, shift, channels)
        plain += g
        weighted += g * value
    at = (problem * tl.num_programs(0) + tl.program_id(0)) * channels + n
    tl.store(parts + at, tl.sum(plain, 0), mask=n < channels)
    at += tl.num_programs(1).to(tl.int64) * tl.num_programs(0) * channels
    tl.store(parts + at, tl.sum(weighted, 0), mask=n < channels)


@triton.jit
def _normalise_gradient(
    gradient,
    y,
    mean,
    spread,
    scale,
    shift,
    sums,
    dy,
    pixels,
    stride,
    channels: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
):
    problem = tl.program_id(1).to(tl.int64)
    n = tl.arange(0, block)
    m = tl.program_id(0) * rows + tl.arange(0, rows)
    mean, spread = _of_channels(mean, problem, n, channels), _of_channels(spread, problem, n, channels)
    scale, shift = _of_channels(scale, problem, n, channels), _of_channels(shift, problem, n, channels)
    g, value, known = _gated(gradient, y, problem, m, n, pixels, stride, mean, spread, scale, shift, channels)
    plain = _of_channels(sums, problem, n, channels) / pixels
    weighted = _of_channels(sums, problem + tl.num_programs(1), n, channels) / pixels
    result = scale * spread * (g - plain - value * weighted)
    at = problem * pixels * channels + (m[:, None] * channels + n[None, :])
    tl.store(dy + at, result.to(dy.dtype.element_ty), mask=known)
