"""The generator's layers by CUDA kernels, as differentiable functions."""

from typing import Any

import torch
from torch import Tensor

from readout.priors.cuda import convolution, normalisation, resampling
from readout.priors.cuda.plain import EPS


def convolved(x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, pooled: bool) -> tuple[Tensor, Tensor | None]:
    """See :func:`readout.priors.cuda.plain.convolved`."""
    z, maxima = _Convolved.apply(x, weight, scale, shift, pooled)
    return z, maxima


def joined(coarse: Tensor, skip: Tensor) -> Tensor:
    """See :func:`readout.priors.cuda.plain.joined`."""
    result: Tensor = _Joined.apply(coarse, skip)
    return result


def projected(x: Tensor, weight: Tensor) -> Tensor:
    """See :func:`readout.priors.cuda.plain.projected`."""
    result: Tensor = _Projected.apply(x, weight)
    return result


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, shift: Tensor, pooled: bool
    ) -> tuple[Tensor, Tensor | None]:
        kernels = convolution.pack(weight, x.dtype)
        y, means, squares = convolution.convolve(x, kernels, True)
        tile = convolution.pixels_per_tile(x.shape[-1], y.shape[-1], x)
        z, mean, spread = normalisation.normalise(y, means, squares, tile, scale, shift, EPS)
        maxima = resampling.pool(z) if pooled else None
        ctx.save_for_backward(x, kernels, y, mean, spread, scale, shift, *([z] if pooled else []))
        return z, maxima

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, pooled: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, kernels, y, mean, spread, scale, shift, *z = ctx.saved_tensors
        if z and pooled is not None:
            gradient = resampling.pool_gradient(z[0], gradient, pooled)
        dy, (dshift, dscale) = normalisation.normalise_gradient(gradient, y, mean, spread, scale, shift)
        needs = ctx.needs_input_grad
        return (
            convolution.input_gradient(dy, kernels) if needs[0] else None,
            convolution.weight_gradient(x, dy, kernels.shape[1]) if needs[1] else None,
            dscale if needs[2] else None,
            dshift if needs[3] else None,
            None,
        )


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        kernels = convolution.pack(weight, x.dtype)
        ctx.save_for_backward(x, kernels)
        y: Tensor = convolution.convolve(x, kernels, False)[0]
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, kernels = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            convolution.input_gradient(gradient, kernels) if needs[0] else None,
            convolution.weight_gradient(x, gradient, kernels.shape[1]) if needs[1] else None,
        )


class _Joined(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, coarse: Tensor, skip: Tensor) -> Tensor:
        ctx.coarse = coarse.shape[1:]
        result: Tensor = resampling.join(coarse, skip)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        height, width, channels = ctx.coarse
        return resampling.join_gradient(gradient, height, width, channels), gradient[..., channels:]
