# mypy: disable-error-code="import-untyped,import-not-found,no-untyped-def,no-untyped-call,untyped-decorator"
"""Convolutions with separate weights per problem, as implicit matrix products.

Activations have shape (problems, height, width, channels). Rows of a product are output pixels; its sum runs over
(tap, channel), where the taps are the 9 pixels under a 3×3 kernel. Pixels are gathered with reflected indices, so no
padded or unfolded copy is made.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from readout.priors.cuda.blocks import blocks_of, shares_of
from readout.priors.cuda.launch import divide_up, precision


def convolve(x: Tensor, weight: Tensor, statistics: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Convolve with reflection padding.

    Args:
        x: Input, shape (problems, height, width, channels in), height and width at least 2.
        weight: Weights packed by :func:`pack`, with the dtype of ``x``.
        statistics: Whether to return statistics of the output, while it is still in registers.

    Returns:
        Output, shape (problems, height, width, channels out); then per tile of :func:`pixels_per_tile` pixels, the mean
        of each channel and the sum of squared deviations from it, both (problems, tiles, channels out), or empty.
    """
    problems, height, width, channels_in = x.shape
    _, taps, _, channels_out = weight.shape
    x, weight, how = x.contiguous(), weight.contiguous(), precision(x)
    blocks = blocks_of("forward", channels_in, channels_out, taps, x.dtype, how == "ieee")
    tiles = divide_up(height * width, blocks.rows)
    y = x.new_empty(problems, height, width, channels_out)
    means, squares = (
        x.new_empty((problems, tiles, channels_out) if statistics else (0,), dtype=torch.float32) for _ in range(2)
    )
    _convolve[(tiles * divide_up(channels_out, blocks.columns), problems)](
        x,
        weight,
        y,
        means,
        squares,
        height,
        width,
        channels_in=channels_in,
        channels_out=channels_out,
        taps=taps,
        rows=blocks.rows,
        columns=blocks.columns,
        depth=blocks.depth,
        precision=how,
        statistics=statistics,
        num_warps=blocks.warps,
        num_stages=blocks.stages,
    )
    return y, means, squares


def input_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """Gradient of :func:`convolve` with respect to its input.

    Args:
        gradient: Gradient of the output, shape (problems, height, width, channels out).
        weight: As for :func:`convolve`.
    """
    problems, height, width, channels_out = gradient.shape
    _, taps, channels_in, _ = weight.shape
    gradient, weight, how = gradient.contiguous(), weight.contiguous(), precision(gradient)
    blocks = blocks_of("input", channels_in, channels_out, taps, gradient.dtype, how == "ieee")
    dx = gradient.new_empty(problems, height, width, channels_in)
    # only rows and columns next to the border receive gradients through reflections; the extra loads cost registers, so
    # a second launch computes those pixels
    for reflections in [False, True] if taps == 9 else [False]:
        pixels = 2 * (height + width) if reflections else height * width
        grid = (divide_up(pixels, blocks.rows) * divide_up(channels_in, blocks.columns), problems)
        _input_gradient[grid](
            gradient,
            weight,
            dx,
            height,
            width,
            channels_in=channels_in,
            channels_out=channels_out,
            taps=taps,
            rows=blocks.rows,
            columns=blocks.columns,
            depth=blocks.depth,
            precision=how,
            reflections=reflections,
            num_warps=blocks.warps,
            num_stages=1 if reflections else blocks.stages,
        )
    return dx


def weight_gradient(x: Tensor, gradient: Tensor, taps: int) -> Tensor:
    """Gradient of :func:`convolve` with respect to its weights, in float32.

    The sum over pixels is split into parts that depend on the image's size only, and added without atomics, so that
    results are deterministic and do not depend on the batch.

    Args:
        x: Input, shape (problems, height, width, channels in).
        gradient: Gradient of the output, shape (problems, height, width, channels out).
        taps: Pixels under the convolution kernel, 9 or 1.

    Returns:
        Shape (problems, channels out, channels in, side, side), as in the prior.
    """
    problems, height, width, channels_in = x.shape
    channels_out = gradient.shape[-1]
    x, gradient, how = x.contiguous(), gradient.contiguous(), precision(x)
    blocks = blocks_of("weight", channels_in, channels_out, taps, x.dtype, how == "ieee")
    share = divide_up(divide_up(height * width, shares_of(height * width)), blocks.depth) * blocks.depth
    shares = divide_up(height * width, share)
    parts = x.new_empty(problems, shares, taps, channels_in, channels_out, dtype=torch.float32)
    grid = (divide_up(taps * channels_in, blocks.rows) * divide_up(channels_out, blocks.columns), shares, problems)
    _weight_gradient[grid](
        x,
        gradient,
        parts,
        height,
        width,
        share,
        channels_in=channels_in,
        channels_out=channels_out,
        taps=taps,
        rows=blocks.rows,
        columns=blocks.columns,
        depth=blocks.depth,
        precision=how,
        num_warps=blocks.warps,
        num_stages=blocks.stages,
    )
    side = 3 if taps == 9 else 1
    whole = parts.sum(1) if shares > 1 else parts
    whole = whole.view(problems, side, side, channels_in, channels_out)
    return whole.permute(0, 4, 3, 1, 2).contiguous()


def pack(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert a prior's weights to the layout and type of the matrix products.

    Args:
        weight: Shape (problems, channels out, channels in, side, side).
        dtype: Type of the activations.

    Returns:
        Shape (problems, side · side, channels in, channels out).
    """
    problems, channels_out, channels_in, side, _ = weight.shape
    result = weight.new_empty(problems, side, side, channels_in, channels_out, dtype=dtype)
    result.copy_(weight.permute(0, 3, 4, 2, 1))
    return result.view(problems, side * side, channels_in, channels_out)


def pixels_per_tile(channels_in: int, channels_out: int, x: Tensor) -> int:
    """Return the pixels behind each statistic of :func:`convolve` on ``x``; the last tile may have fewer."""
    return blocks_of("forward", channels_in, channels_out, 9, x.dtype, precision(x) == "ieee").rows


@triton.jit
def _reflect(index, size):
    index = tl.where(index < 0, -index, index)
    return tl.where(index < size, index, 2 * size - 2 - index)


@triton.jit
def _tap_and_channel(start, channels: tl.constexpr, depth: tl.constexpr):
    """Split indices of a step of the sum into taps and channels."""
    if channels % depth == 0:  # the whole step has one tap, which saves index arithmetic
        tap = start // channels + tl.zeros((1,), tl.int32)
        channel = tl.multiple_of(start % channels, depth) + tl.arange(0, depth)
    else:
        k = start + tl.arange(0, depth)
        tap = k // channels
        channel = k % channels
    return tap, channel


@triton.jit
def _convolve(
    x,
    weight,
    y,
    means,
    squares,
    height,
    width,
    channels_in: tl.constexpr,
    channels_out: tl.constexpr,
    taps: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    depth: tl.constexpr,
    precision: tl.constexpr,
    statistics: tl.constexpr,
):
    side_by_side: tl.constexpr = (channels_out + columns - 1) // columns
    tile = tl.program_id(0) // side_by_side
    problem = tl.program_id(1).to(tl.int64)
    pixels = height * width
    x += problem * pixels * channels_in
    y += problem * pixels * channels_out
    weight += problem * taps * channels_in * channels_out
    m = tile * rows + tl.arange(0, rows)
    n = tl.program_id(0) % side_by_side * columns + tl.arange(0, columns)
    row, column, inside = m // width, m % width, m < pixels
    total = tl.zeros((rows, columns), tl.float32)
    for start in range(0, taps * channels_in, depth):
        k = start + tl.arange(0, depth)
        tap, channel = _tap_and_channel(start, channels_in, depth)
        if taps == 9:
            above = _reflect(row[:, None] + (tap // 3 - 1)[None, :], height)
            beside = _reflect(column[:, None] + (tap % 3 - 1)[None, :], width)
            pixel = above * width + beside
        else:
            pixel = m[:, None]
        a = tl.load(
            x + (pixel * channels_in + channel[None, :]),
            mask=inside[:, None] & (k < taps * channels_in)[None, :],
            other=0.0,
        )
        b = tl.load(
            weight + (k[:, None] * channels_out + n[None, :]),
            mask=(k < taps * channels_in)[:, None] & (n < channels_out)[None, :],
            other=0.0,
        )
        total = tl.dot(a, b, total, input_precision=precision)
    # statistics are those of the rounded output, because that is what the norm will read
    value = total.to(y.dtype.element_ty)
    tl.store(y + (m[:, None] * channels_out + n[None, :]), value, mask=inside[:, None] & (n < channels_out)[None, :])
    if statistics:
        value = value.to(tl.float32)
        # deviations from the tile's own mean: a sum of squares would cancel where the mean is large
        tiles = (pixels + rows - 1) // rows
        count = tl.minimum(pixels - tile * rows, rows)
        mean = tl.sum(tl.where(inside[:, None], value, 0.0), 0) / count
        off = tl.where(inside[:, None], value - mean[None, :], 0.0)
        at = (problem * tiles + tile) * channels_out + n
        tl.store(means + at, mean, mask=n < channels_out)
        tl.store(squares + at, tl.sum(off * off, 0), mask=n < channels_out)


@triton.jit
def _input_gradient(
    gradient,
    weight,
    dx,
    height,
    width,
    channels_in: tl.constexpr,
    channels_out: tl.constexpr,
    taps: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    depth: tl.constexpr,
    precision: tl.constexpr,
    reflections: tl.constexpr,
):
    """Gather, per input pixel, the gradients of the output pixels that read it or a reflection of it."""
    side_by_side: tl.constexpr = (channels_in + columns - 1) // columns
    problem = tl.program_id(1).to(tl.int64)
    gradient += problem * height * width * channels_out
    dx += problem * height * width * channels_in
    weight += problem * taps * channels_in * channels_out
    m = tl.program_id(0) // side_by_side * rows + tl.arange(0, rows)
    n = tl.program_id(0) % side_by_side * columns + tl.arange(0, columns)
    if reflections:
        # rows 1 and height - 2, then columns 1 and width - 2; crossings are written twice, with equal values
        along = m - 2 * width
        across = m < 2 * width
        row = tl.where(across, tl.where(m < width, 1, height - 2), tl.maximum(along, 0) % height)
        column = tl.where(across, m % width, tl.where(along < height, 1, width - 2))
        inside = m < 2 * width + 2 * height
    else:
        row, column, inside = m // width, m % width, m < height * width
        if taps == 9:
            inside = inside & (row != 1) & (row != height - 2) & (column != 1) & (column != width - 2)
    total = tl.zeros((rows, columns), tl.float32)
    for start in range(0, taps * channels_out, depth):
        k = start + tl.arange(0, depth)
        tap, channel = _tap_and_channel(start, channels_out, depth)
        valid = inside[:, None] & (k < taps * channels_out)[None, :]
        if taps == 9:
            down, right = (tap // 3 - 1)[None, :], (tap % 3 - 1)[None, :]
            above, beside = row[:, None] - down, column[:, None] - right
            above_there = (above >= 0) & (above < height)
            beside_there = (beside >= 0) & (beside < width)
        else:
            above, beside = row[:, None], column[:, None]
            above_there, beside_there = above >= 0, beside >= 0
        offset = (above * width + beside) * channels_out + channel[None, :]
        a = tl.load(gradient + offset, mask=valid & above_there & beside_there, other=0.0)
        if reflections:
            # an output pixel on the border reads row 1 (or height - 2) a second time, as the reflection beyond the
            # border; likewise for columns, and for both at corners
            # one row per pixel, though all are equal: Triton 3.2 does not broadcast a pointer to its mask
            edge_row = tl.where(down < 0, 0, height - 1) + 0 * row[:, None]
            edge_column = tl.where(right < 0, 0, width - 1)
            row_edge = ((down < 0) & (row[:, None] == 1)) | ((down > 0) & (row[:, None] == height - 2))
            column_edge = ((right < 0) & (column[:, None] == 1)) | ((right > 0) & (column[:, None] == width - 2))
            both = a.to(tl.float32)
            offset = (edge_row * width + beside) * channels_out + channel[None, :]
            both += tl.load(gradient + offset, mask=valid & row_edge & beside_there, other=0.0).to(tl.float32)
            offset = (above * width + edge_column) * channels_out + channel[None, :]
            both += tl.load(gradient + offset, mask=valid & above_there & column_edge, other=0.0).to(tl.float32)
            offset = (edge_row * width + edge_column) * channels_out + channel[None, :]
            both += tl.load(gradient + offset, mask=valid & row_edge & column_edge, other=0.0).to(tl.float32)
            a = both.to(gradient.dtype.element_ty)
        b = tl.load(
            weight + (((tap * channels_in)[:, None] + n[None, :]) * channels_out + channel[:, None]),
            mask=(k < taps * channels_out)[:, None] & (n < channels_in)[None, :],
            other=0.0,
        )
        total = tl.dot(a, b, total, input_precision=precision)
    at = (row * width + column)[:, None] * channels_in + n[None, :]
    tl.store(dx + at, total.to(dx.dtype.element_ty), mask=inside[:, None] & (n < channels_in)[None, :])


@triton.jit
def _weight_gradient(
    x,
    gradient,
    parts,
    height,
    width,
    share,
    channels_in: tl.constexpr,
    channels_out: tl.constexpr,
    taps: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    depth: tl.constexpr,
    precision: tl.constexpr,
):
    side_by_side: tl.constexpr = (channels_out + columns - 1) // columns
    problem = tl.program_id(2).to(tl.int64)
    pixels = height * width
    x += problem * pixels * channels_in
    gradient += problem * pixels * channels_out
    parts += (problem * tl.num_programs(1) + tl.program_id(1)) * taps * channels_in * channels_out
    k = tl.program_id(0) // side_by_side * rows + tl.arange(0, rows)
    n = tl.program_id(0) % side_by_side * columns + tl.arange(0, columns)
    tap, channel = k // channels_in, k % channels_in
    first = tl.program_id(1) * share
    last = tl.minimum(first + share, pixels)
    total = tl.zeros((rows, columns), tl.float32)
    for start in range(first, last, depth):
        m = start + tl.arange(0, depth)
        inside = m < last
        if taps == 9:
            above = _reflect((m // width)[:, None] + (tap // 3 - 1)[None, :], height)
            beside = _reflect((m % width)[:, None] + (tap % 3 - 1)[None, :], width)
            pixel = above * width + beside
        else:
            pixel = m[:, None]
        a = tl.load(
            x + (pixel * channels_in + channel[None, :]),
            mask=inside[:, None] & (k < taps * channels_in)[None, :],
            other=0.0,
        )
        b = tl.load(
            gradient + (m[:, None] * channels_out + n[None, :]),
            mask=inside[:, None] & (n < channels_out)[None, :],
            other=0.0,
        )
        total = tl.dot(tl.trans(a), b, total, input_precision=precision)
    tl.store(
        parts + (k[:, None] * channels_out + n[None, :]),
        total,
        mask=(k < taps * channels_in)[:, None] & (n < channels_out)[None, :],
    )
