# mypy: disable-error-code="import-untyped,import-not-found,no-untyped-def,no-untyped-call,untyped-decorator"
"""Convolutions with weights of their own for every problem, as implicit matrix products.

Activations lie (problems, height, width, channels). A row of a product is a pixel, and what is summed over
are the channels of its neighbours, one neighbour after the other; no padded or unfolded copy is ever made.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from readout.priors.cuda.blocks import blocks_of, shares_of
from readout.priors.cuda.launch import divide_up, precision


def convolve(x: Tensor, weight: Tensor, statistics: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Convolution over an input padded by its reflection.

    Args:
        x: Input, shape (problems, height, width, channels in), height and width at least 2.
        weight: Kernels as :func:`laid_out` leaves them, of the type of ``x``.
        statistics: Whether to return statistics of the output too.

    Returns:
        The output, shape (problems, height, width, channels out); and, of every tile of as many pixels as
        :func:`pixels_a_tile` says, the mean of each channel and the sum of squared distances from it, shape
        (problems, tiles, channels out), or nothing.
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
        gradient: Of the output, shape (problems, height, width, channels out).
        weight: As for :func:`convolve`.
    """
    problems, height, width, channels_out = gradient.shape
    _, taps, channels_in, _ = weight.shape
    gradient, weight, how = gradient.contiguous(), weight.contiguous(), precision(gradient)
    blocks = blocks_of("input", channels_in, channels_out, taps, gradient.dtype, how == "ieee")
    dx = gradient.new_empty(problems, height, width, channels_in)
    # reflections reach few pixels and cost registers, so those pixels have programs of their own
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
    """Gradient of :func:`convolve` with respect to its kernels, in float32.

    Sums over pixels are taken in parts, which depend on the size of the image only, and then together: so
    the same comes out every time, and whatever problems lie beside.

    Args:
        x: Input, shape (problems, height, width, channels in).
        gradient: Of the output, shape (problems, height, width, channels out).
        taps: Pixels under the kernel, 9 or 1.

    Returns:
        As the prior keeps kernels: shape (problems, channels out, channels in, side, side).
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


def laid_out(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Kernels as the products read them.

    Args:
        weight: As the prior keeps them: shape (problems, channels out, channels in, side, side).
        dtype: Type to have them in.

    Returns:
        Shape (problems, side · side, channels in, channels out).
    """
    problems, channels_out, channels_in, side, _ = weight.shape
    result = weight.new_empty(problems, side, side, channels_in, channels_out, dtype=dtype)
    result.copy_(weight.permute(0, 3, 4, 2, 1))
    return result.view(problems, side * side, channels_in, channels_out)


def pixels_a_tile(channels_in: int, channels_out: int, x: Tensor) -> int:
    """How many pixels each of the statistics of :func:`convolve` is of, but perhaps for the last, by input ``x``."""
    return blocks_of("forward", channels_in, channels_out, 9, x.dtype, precision(x) == "ieee").rows


@triton.jit
def _reflected(index, size):
    index = tl.where(index < 0, -index, index)
    return tl.where(index < size, index, 2 * size - 2 - index)


@triton.jit
def _summed(start, channels: tl.constexpr, depth: tl.constexpr):
    """Neighbours and channels of a step along what is summed, by their number."""
    if channels % depth == 0:  # one neighbour for all of them, which saves arithmetic
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
        tap, channel = _summed(start, channels_in, depth)
        if taps == 9:
            above = _reflected(row[:, None] + (tap // 3 - 1)[None, :], height)
            beside = _reflected(column[:, None] + (tap % 3 - 1)[None, :], width)
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
    value = total.to(y.dtype.element_ty)
    tl.store(y + (m[:, None] * channels_out + n[None, :]), value, mask=inside[:, None] & (n < channels_out)[None, :])
    if statistics:
        value = value.to(tl.float32)
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
    """What pixels of the input get from those of the output that looked at them, or at a reflection of them."""
    side_by_side: tl.constexpr = (channels_in + columns - 1) // columns
    problem = tl.program_id(1).to(tl.int64)
    gradient += problem * height * width * channels_out
    dx += problem * height * width * channels_in
    weight += problem * taps * channels_in * channels_out
    m = tl.program_id(0) // side_by_side * rows + tl.arange(0, rows)
    n = tl.program_id(0) % side_by_side * columns + tl.arange(0, columns)
    if reflections:  # of rows 1 and height - 2, then of columns 1 and width - 2; where they cross, twice the same
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
        tap, channel = _summed(start, channels_out, depth)
        known = inside[:, None] & (k < taps * channels_out)[None, :]
        if taps == 9:
            down, right = (tap // 3 - 1)[None, :], (tap % 3 - 1)[None, :]
            above, beside = row[:, None] - down, column[:, None] - right
            above_there = (above >= 0) & (above < height)
            beside_there = (beside >= 0) & (beside < width)
        else:
            above, beside = row[:, None], column[:, None]
            above_there, beside_there = above >= 0, beside >= 0
        offset = (above * width + beside) * channels_out + channel[None, :]
        a = tl.load(gradient + offset, mask=known & above_there & beside_there, other=0.0)
        if reflections:
            edge_row = tl.where(down < 0, 0, height - 1)
            edge_column = tl.where(right < 0, 0, width - 1)
            row_edge = ((down < 0) & (row[:, None] == 1)) | ((down > 0) & (row[:, None] == height - 2))
            column_edge = ((right < 0) & (column[:, None] == 1)) | ((right > 0) & (column[:, None] == width - 2))
            both = a.to(tl.float32)
            offset = (edge_row * width + beside) * channels_out + channel[None, :]
            both += tl.load(gradient + offset, mask=known & row_edge & beside_there, other=0.0).to(tl.float32)
            offset = (above * width + edge_column) * channels_out + channel[None, :]
            both += tl.load(gradient + offset, mask=known & above_there & column_edge, other=0.0).to(tl.float32)
            offset = (edge_row * width + edge_column) * channels_out + channel[None, :]
            both += tl.load(gradient + offset, mask=known & row_edge & column_edge, other=0.0).to(tl.float32)
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
            above = _reflected((m // width)[:, None] + (tap // 3 - 1)[None, :], height)
            beside = _reflected((m % width)[:, None] + (tap % 3 - 1)[None, :], width)
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
