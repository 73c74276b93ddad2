# mypy: disable-error-code="import-untyped,import-not-found,no-untyped-def,no-untyped-call,untyped-decorator"
"""Instance norm and ReLU in one pass, and their gradient."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from readout.priors.cuda.launch import divide_up, pixels_per_program, power_of_two


def normalise(
    y: Tensor, means: Tensor, squares: Tensor, tile: int, scale: Tensor, shift: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Apply instance norm and ReLU.

    Args:
        y: Input, shape (problems, height, width, channels).
        means: Mean per tile of pixels, shape (problems, tiles, channels).
        squares: Sum of squared deviations from it, same shape.
        tile: Pixels per tile; the last may have fewer.
        scale: Scale, shape (problems, channels).
        shift: Shift, same shape.
        eps: Added to variances.

    Returns:
        Output; mean and inverse standard deviation, both (problems, channels).
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
    rows = pixels_per_program(block)
    _normalise[(divide_up(height * width, rows), problems)](
        y, mean, spread, scale, shift, z, height * width, channels=channels, rows=rows, block=block
    )
    return z, mean, spread


def normalise_gradient(
    gradient: Tensor, y: Tensor, mean: Tensor, spread: Tensor, scale: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`normalise`.

    Args:
        gradient: Gradient of the output, shape (problems, height, width, channels); may be a slice of channels.
        y: Input of :func:`normalise`.
        mean: Mean from :func:`normalise`.
        spread: Inverse standard deviation from :func:`normalise`.
        scale: Scale, shape (problems, channels).
        shift: Shift, same shape.

    Returns:
        Gradient of ``y``; gradients of ``shift`` and ``scale``, stacked.
    """
    problems, height, width, channels = y.shape
    gradient, stride = with_pixel_stride(gradient)
    y, scale, shift = y.contiguous(), scale.contiguous(), shift.contiguous()
    pixels, block = height * width, power_of_two(channels)
    rows = pixels_per_program(block)
    # parts depend on the image's size only and are added without atomics: deterministic, and the same in any batch
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


def with_pixel_stride(tensor: Tensor) -> tuple[Tensor, int]:
    """Return a tensor (problems, height, width, channels) with evenly spaced pixels, copied if need be, and the stride.

    A slice of channels, such as the skip's part of a gradient, is evenly spaced and needs no copy.
    """
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
    """Combine the statistics of tiles by the update of Chan, Golub and LeVeque (1979), which does not cancel."""
    problem = tl.program_id(1).to(tl.int64)
    n = tl.program_id(0) * block + tl.arange(0, block)
    means += problem * tiles * channels
    squares += problem * tiles * channels
    total = tl.zeros((tiles_at_once, block), tl.float32)
    for start in range(0, tiles, tiles_at_once):
        t = start + tl.arange(0, tiles_at_once)
        valid = (t < tiles)[:, None] & (n < channels)[None, :]
        count = tl.minimum(pixels - t * tile, tile).to(tl.float32)[:, None]
        total += tl.load(means + (t[:, None] * channels + n[None, :]), mask=valid, other=0.0) * count
    centre = tl.sum(total, 0) / pixels
    total = tl.zeros((tiles_at_once, block), tl.float32)
    for start in range(0, tiles, tiles_at_once):
        t = start + tl.arange(0, tiles_at_once)
        valid = (t < tiles)[:, None] & (n < channels)[None, :]
        count = tl.minimum(pixels - t * tile, tile).to(tl.float32)[:, None]
        off = tl.load(means + (t[:, None] * channels + n[None, :]), mask=valid, other=0.0) - centre[None, :]
        square = tl.load(squares + (t[:, None] * channels + n[None, :]), mask=valid, other=0.0)
        total += tl.where(valid, square + count * off * off, 0.0)
    variance = tl.sum(total, 0) / pixels
    tl.store(mean + problem * channels + n, centre, mask=n < channels)
    tl.store(spread + problem * channels + n, 1.0 / tl.sqrt(variance + eps), mask=n < channels)


@triton.jit
def _load_channels(tensor, problem, n, channels: tl.constexpr):
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
    valid = (m < pixels)[:, None] & (n < channels)[None, :]
    at = m[:, None] * channels + n[None, :]
    value = tl.load(y + problem * pixels * channels + at, mask=valid, other=0.0).to(tl.float32)
    value = (value - _load_channels(mean, problem, n, channels)) * _load_channels(spread, problem, n, channels)
    value = value * _load_channels(scale, problem, n, channels) + _load_channels(shift, problem, n, channels)
    # ReLU by selection: a maximum would turn NaN into 0
    value = tl.where(value < 0.0, 0.0, value)
    tl.store(z + problem * pixels * channels + at, value.to(z.dtype.element_ty), mask=valid)


@triton.jit
def _through_relu(
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
    """Return the gradient before the ReLU and the normalised input, 0 beyond the image, and the mask of the image."""
    valid = (m < pixels)[:, None] & (n < channels)[None, :]
    value = tl.load(y + problem * pixels * channels + (m[:, None] * channels + n[None, :]), mask=valid, other=0.0)
    value = (value.to(tl.float32) - mean) * spread
    g = tl.load(gradient + problem * pixels * stride + (m[:, None] * stride + n[None, :]), mask=valid, other=0.0)
    return tl.where(valid & (value * scale + shift > 0.0), g.to(tl.float32), 0.0), value, valid


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
    mean, spread = _load_channels(mean, problem, n, channels), _load_channels(spread, problem, n, channels)
    scale, shift = _load_channels(scale, problem, n, channels), _load_channels(shift, problem, n, channels)
    # Σ g and Σ g·ŷ over pixels: the gradients of shift and scale, which the gradient of y needs too
    plain = tl.zeros((rows, block), tl.float32)
    weighted = tl.zeros((rows, block), tl.float32)
    for step in range(steps):
        m = (tl.program_id(0) * steps + step) * rows + tl.arange(0, rows)
        g, value, _ = _through_relu(gradient, y, problem, m, n, pixels, stride, mean, spread, scale, shift, channels)
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
    mean, spread = _load_channels(mean, problem, n, channels), _load_channels(spread, problem, n, channels)
    scale, shift = _load_channels(scale, problem, n, channels), _load_channels(shift, problem, n, channels)
    g, value, valid = _through_relu(gradient, y, problem, m, n, pixels, stride, mean, spread, scale, shift, channels)
    plain = _load_channels(sums, problem, n, channels) / pixels
    weighted = _load_channels(sums, problem + tl.num_programs(1), n, channels) / pixels
    # mean and variance depend on every pixel, which subtracts the means of g and of g·ŷ along ŷ
    result = scale * spread * (g - plain - value * weighted)
    at = problem * pixels * channels + (m[:, None] * channels + n[None, :])
    tl.store(dy + at, result.to(dy.dtype.element_ty), mask=valid)
