# mypy: disable-error-code="import-untyped,import-not-found,no-untyped-def,no-untyped-call,untyped-decorator"
"""Max pooling, and bilinear upsampling with concatenation of the skip."""

import triton
import triton.language as tl
from torch import Tensor

from readout.priors.cuda.launch import divide_up, pixels_per_program, power_of_two
from readout.priors.cuda.normalisation import with_pixel_stride


def pool(z: Tensor) -> Tensor:
    """Max-pool by 2×2; a last odd row or column is dropped.

    Args:
        z: Shape (problems, height, width, channels).
    """
    problems, height, width, channels = z.shape
    z, block = z.contiguous(), power_of_two(channels)
    pooled = z.new_empty(problems, height // 2, width // 2, channels)
    rows = pixels_per_program(block)
    _pool[(divide_up((height // 2) * (width // 2), rows), problems)](
        z, pooled, height, width, channels=channels, rows=rows, block=block
    )
    return pooled


def pool_gradient(z: Tensor, kept: Tensor, pooled: Tensor) -> Tensor:
    """Gradient of a tensor that is pooled and also used as a skip.

    Args:
        z: The tensor, shape (problems, height, width, channels).
        kept: Its gradient as a skip, same shape; may be a slice of channels.
        pooled: Gradient of the maxima; among equal values, the first receives it, as in PyTorch.
    """
    problems, height, width, channels = z.shape
    kept, stride = with_pixel_stride(kept)
    z, pooled, block = z.contiguous(), pooled.contiguous(), power_of_two(channels)
    dz = z.new_empty(z.shape)
    rows = pixels_per_program(block)
    cells = divide_up(height, 2) * divide_up(width, 2)
    _pool_gradient[(divide_up(cells, rows), problems)](
        z, kept, pooled, dz, height, width, stride, channels=channels, rows=rows, block=block
    )
    return dz


def join(coarse: Tensor, skip: Tensor) -> Tensor:
    """Upsample bilinearly to the skip's size (corners not aligned), and concatenate the skip's channels.

    Args:
        coarse: Shape (problems, coarse height, coarse width, coarse channels).
        skip: Shape (problems, height, width, channels), 2 to 2.5 times as large per side.
    """
    problems, height, width, channels = skip.shape
    _, coarse_height, coarse_width, coarse_channels = coarse.shape
    coarse, skip = coarse.contiguous(), skip.contiguous()
    joined = skip.new_empty(problems, height, width, coarse_channels + channels)
    block = power_of_two(max(coarse_channels, channels))
    rows = pixels_per_program(block)
    _join[(divide_up(height * width, rows), problems)](
        coarse,
        skip,
        joined,
        coarse_height,
        coarse_width,
        height,
        width,
        coarse_channels=coarse_channels,
        channels=channels,
        rows=rows,
        coarse_block=power_of_two(coarse_channels),
        block=power_of_two(channels),
    )
    return joined


def join_gradient(gradient: Tensor, coarse_height: int, coarse_width: int, coarse_channels: int) -> Tensor:
    """Gradient of :func:`join` with respect to the coarse pixels.

    Each coarse pixel gathers its gradient from the fine ones, rather than these scattering theirs by atomics, whose
    order would change from run to run.

    Args:
        gradient: Gradient of the output, shape (problems, height, width, coarse channels + channels).
        coarse_height: Height of the coarse pixels.
        coarse_width: Width of the coarse pixels.
        coarse_channels: Channels of the coarse pixels.
    """
    problems, height, width, joined = gradient.shape
    gradient = gradient.contiguous()
    result = gradient.new_empty(problems, coarse_height, coarse_width, coarse_channels)
    block = power_of_two(coarse_channels)
    rows = pixels_per_program(block)
    _join_gradient[(divide_up(coarse_height * coarse_width, rows), problems)](
        gradient,
        result,
        coarse_height,
        coarse_width,
        height,
        width,
        coarse_channels=coarse_channels,
        joined_channels=joined,
        rows=rows,
        block=block,
        doubled=height == 2 * coarse_height and width == 2 * coarse_width,
    )
    return result


@triton.jit
def _pool(z, pooled, height, width, channels: tl.constexpr, rows: tl.constexpr, block: tl.constexpr):
    problem = tl.program_id(1).to(tl.int64)
    across = width // 2
    cells = (height // 2) * across
    z += problem * height * width * channels
    n = tl.arange(0, block)
    m = tl.program_id(0) * rows + tl.arange(0, rows)
    valid = (m < cells)[:, None] & (n < channels)[None, :]
    corner = ((m // across) * 2 * width + (m % across) * 2)[:, None] * channels + n[None, :]
    best = tl.load(z + corner, mask=valid, other=0.0)
    for place in tl.static_range(1, 4):
        value = tl.load(z + corner + (place // 2 * width + place % 2) * channels, mask=valid, other=0.0)
        best = tl.where(value > best, value, best)
    tl.store(pooled + problem * cells * channels + (m[:, None] * channels + n[None, :]), best, mask=valid)


@triton.jit
def _pool_gradient(
    z,
    kept,
    pooled,
    dz,
    height,
    width,
    stride,
    channels: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
):
    problem = tl.program_id(1).to(tl.int64)
    z += problem * height * width * channels
    dz += problem * height * width * channels
    kept += problem * height * width * stride
    pooled += problem * (height // 2) * (width // 2) * channels
    n = tl.arange(0, block)
    m = tl.program_id(0) * rows + tl.arange(0, rows)
    across = (width + 1) // 2
    row, column = m // across, m % across
    # cells cover the odd last row and column too, where the skip alone has a gradient; only whole cells were pooled
    valid = (row < (height + 1) // 2)[:, None] & (n < channels)[None, :]
    whole = (row < height // 2)[:, None] & (column < width // 2)[:, None] & valid
    corner = (row * 2 * width + column * 2)[:, None]
    best = tl.load(z + corner * channels + n[None, :], mask=valid, other=0.0)
    where = tl.zeros((rows, block), tl.int32)
    for place in tl.static_range(1, 4):
        step = place // 2 * width + place % 2
        value = tl.load(z + (corner + step) * channels + n[None, :], mask=whole, other=0.0)
        where = tl.where(value > best, place, where)
        best = tl.where(value > best, value, best)
    at = (row * (width // 2) + column)[:, None] * channels + n[None, :]
    gradient = tl.load(pooled + at, mask=whole, other=0.0).to(tl.float32)
    for place in tl.static_range(4):
        there = valid & ((row * 2 + place // 2 < height) & (column * 2 + place % 2 < width))[:, None]
        pixel = corner + (place // 2 * width + place % 2)
        value = tl.load(kept + pixel * stride + n[None, :], mask=there, other=0.0).to(tl.float32)
        value += tl.where(whole & (where == place), gradient, 0.0)
        tl.store(dz + pixel * channels + n[None, :], value.to(dz.dtype.element_ty), mask=there)


@triton.jit
def _neighbours(index, fine, coarse):
    """Return the two coarse pixels around a fine one, and the second one's weight (align_corners=False)."""
    at = tl.maximum((index.to(tl.float32) + 0.5) * (coarse.to(tl.float32) / fine.to(tl.float32)) - 0.5, 0.0)
    low = tl.minimum(at.to(tl.int32), coarse - 1)
    return low, tl.minimum(low + 1, coarse - 1), at - low.to(tl.float32)


@triton.jit
def _join(
    coarse,
    skip,
    joined,
    coarse_height,
    coarse_width,
    height,
    width,
    coarse_channels: tl.constexpr,
    channels: tl.constexpr,
    rows: tl.constexpr,
    coarse_block: tl.constexpr,
    block: tl.constexpr,
):
    problem = tl.program_id(1).to(tl.int64)
    pixels = height * width
    coarse += problem * coarse_height * coarse_width * coarse_channels
    skip += problem * pixels * channels
    joined += problem * pixels * (coarse_channels + channels)
    m = tl.program_id(0) * rows + tl.arange(0, rows)
    inside = (m < pixels)[:, None]
    n = tl.arange(0, block)[None, :]
    value = tl.load(skip + (m[:, None] * channels + n), mask=inside & (n < channels), other=0.0)
    at = m[:, None] * (coarse_channels + channels) + n
    tl.store(joined + at + coarse_channels, value, mask=inside & (n < channels))
    n = tl.arange(0, coarse_block)[None, :]
    valid = inside & (n < coarse_channels)
    top, bottom, down = _neighbours(m // width, height, coarse_height)
    left, right, across = _neighbours(m % width, width, coarse_width)
    down, across = down[:, None], across[:, None]
    top_left = tl.load(coarse + ((top * coarse_width + left)[:, None] * coarse_channels + n), mask=valid, other=0.0)
    top_right = tl.load(coarse + ((top * coarse_width + right)[:, None] * coarse_channels + n), mask=valid, other=0.0)
    low_left = tl.load(coarse + ((bottom * coarse_width + left)[:, None] * coarse_channels + n), mask=valid, other=0.0)
    low_right = tl.load(
        coarse + ((bottom * coarse_width + right)[:, None] * coarse_channels + n), mask=valid, other=0.0
    )
    upper = top_left.to(tl.float32) * (1.0 - across) + top_right.to(tl.float32) * across
    lower = low_left.to(tl.float32) * (1.0 - across) + low_right.to(tl.float32) * across
    value = upper * (1.0 - down) + lower * down
    at = m[:, None] * (coarse_channels + channels) + n
    tl.store(joined + at, value.to(joined.dtype.element_ty), mask=valid)


@triton.jit
def _bilinear_weight(index, fine, of, coarse):
    """Return the weight of a coarse pixel in a fine one; 0 beyond the image."""
    low, high, weight = _neighbours(index, fine, coarse)
    share = tl.where(low == of, 1.0 - weight, 0.0) + tl.where(high == of, weight, 0.0)
    return tl.where((index >= 0) & (index < fine), share, 0.0)


@triton.jit
def _first_fine(index, fine, coarse, doubled: tl.constexpr):
    """Return the first fine pixel to which a coarse one may contribute."""
    if doubled:
        first = 2 * index - 1
    else:
        ratio = fine.to(tl.float32) / coarse.to(tl.float32)
        first = tl.floor((index.to(tl.float32) - 0.5) * ratio - 0.5).to(tl.int32)
    return first


@triton.jit
def _join_gradient(
    gradient,
    result,
    coarse_height,
    coarse_width,
    height,
    width,
    coarse_channels: tl.constexpr,
    joined_channels: tl.constexpr,
    rows: tl.constexpr,
    block: tl.constexpr,
    doubled: tl.constexpr,
):
    problem = tl.program_id(1).to(tl.int64)
    cells = coarse_height * coarse_width
    gradient += problem * height * width * joined_channels
    n = tl.arange(0, block)
    m = tl.program_id(0) * rows + tl.arange(0, rows)
    row, column = m // coarse_width, m % coarse_width
    valid = (m < cells)[:, None] & (n < coarse_channels)[None, :]
    # window of fine pixels that a coarse one can reach, per side; 7 suffice up to a ratio of 2.5
    window: tl.constexpr = 4 if doubled else 7
    first_row, first_column = (
        _first_fine(row, height, coarse_height, doubled),
        _first_fine(column, width, coarse_width, doubled),
    )
    total = tl.zeros((rows, block), tl.float32)
    for down in range(window):
        fine_row = first_row + down
        share_row = _bilinear_weight(fine_row, height, row, coarse_height)
        for right in tl.static_range(window):
            fine_column = first_column + right
            share = (share_row * _bilinear_weight(fine_column, width, column, coarse_width))[:, None]
            at = (fine_row * width + fine_column)[:, None] * joined_channels + n[None, :]
            value = tl.load(gradient + at, mask=valid & (share != 0.0), other=0.0)
            total += share * value.to(tl.float32)
    at = problem * cells * coarse_channels + (m[:, None] * coarse_channels + n[None, :])
    tl.store(result + at, total.to(result.dtype.element_ty), mask=valid)
