"""How far layers in kernels of our own are from plain PyTorch, and their gradients; by itself, in Triton's interpreter.

Run as a program, with TRITON_INTERPRET=1, it writes the differences as JSON.
"""

import json
from collections.abc import Callable, Sequence
from types import ModuleType

import torch
from torch import Tensor

from readout.priors import DeepImagePrior
from readout.priors.cuda import generate, plain

SIZES = [(2, 3), (3, 2), (4, 5), (9, 8)]
CHANNELS = [(3, 16), (16, 16), (48, 16), (16, 32), (5, 7)]


def differences(
    sizes: Sequence[tuple[int, int]],
    channels: Sequence[tuple[int, int]],
    problems: int = 2,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> dict[str, list[float]]:
    """Norms of differences over norms of what plain PyTorch gives in float64: of outputs, then of gradients."""
    from readout.priors.cuda import kernels

    found = {}
    for height, width in sizes:
        for channels_in, channels_out in channels:
            draw = _drawing(device, dtype)
            x, weight = draw(problems, height, width, channels_in), draw(problems, channels_out, channels_in, 3, 3)
            norm = [draw(problems, channels_out) for _ in range(2)]
            found[f"convolution {height}×{width}, {channels_in} to {channels_out}"] = _compare(
                kernels,
                lambda layers, *inputs: (layers.projected if layers is kernels else layers.convolution)(*inputs),
                [x, weight.float()],
            )
            for pooled in [False, True] if min(height, width) > 3 else [False]:
                name = f"convolved {height}×{width}, {channels_in} to {channels_out}{', pooled' if pooled else ''}"
                found[name] = _compare(
                    kernels,
                    lambda layers, *inputs, pooled=pooled: layers.convolved(*inputs, pooled),
                    [x, weight.float(), *(part.float() for part in norm)],
                )
    for height, width in sizes:
        for odd in (0, 1):
            draw = _drawing(device, dtype)
            parts = [draw(problems, height, width, 32), draw(problems, 2 * height + odd, 2 * width, 16)]
            found[f"joined {height}×{width}, {odd} more"] = _compare(
                kernels, lambda layers, *inputs: layers.joined(*inputs), parts
            )
        draw = _drawing(device, dtype)
        inputs = [draw(problems, height, width, 16), draw(problems, 3, 16, 1, 1).float()]
        found[f"projected {height}×{width}"] = _compare(
            kernels, lambda layers, *inputs: layers.projected(*inputs), inputs
        )
    return found


def generator_differences(size: tuple[int, int], filters: list[int], device: str = "cpu") -> dict[str, float]:
    """The same for whole generators in float32, against the plain network."""
    from readout.priors.cuda import kernels

    prior = DeepImagePrior(filters=filters)
    prior.initialise([0, 1], torch.Size([3, *size]))
    prior.to(device)
    images = generate(list(prior.weights), prior.latents, len(filters), kernels)
    target = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)).to(device)
    found = torch.autograd.grad((images - target).square().sum(), list(prior.parameters()), allow_unused=True)
    prior.double()
    plainly = prior.one_by_one()
    wanted = torch.autograd.grad((plainly - target).square().sum(), list(prior.parameters()))
    pairs = {name: pair for (name, _), *pair in zip(prior.named_parameters(), found, wanted, strict=True)}
    return {
        "images": _distance(images, plainly),
        **{name: _distance(mine, other) for name, (mine, other) in pairs.items() if mine is not None},
    }


def _compare(kernels: ModuleType, run: Callable[..., object], inputs: list[Tensor]) -> list[float]:
    results = []
    for layers, dtype in ((kernels, None), (plain, torch.float64)):
        own = [part.detach().to(dtype or part.dtype).requires_grad_() for part in inputs]
        outputs = run(layers, *own)
        outputs = [part for part in (outputs if isinstance(outputs, tuple) else (outputs,)) if part is not None]
        generator = torch.Generator().manual_seed(1)
        wanted = [torch.randn(part.shape, generator=generator).to(part) for part in outputs]
        results.append([*outputs, *torch.autograd.grad(outputs, own, wanted)])
    return [_distance(mine, other) for mine, other in zip(*results, strict=True)]


def _distance(mine: Tensor, other: Tensor) -> float:
    assert mine.shape == other.shape
    return ((mine.double() - other).norm() / other.norm()).item()


def _drawing(device: str, dtype: torch.dtype) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(shape, generator=generator).to(device, dtype)


if __name__ == "__main__":
    from readout.priors.cuda import blocks

    blocks.PIXELS_A_SHARE = 20  # so that sums over few pixels are split too
    print(json.dumps({"layers": differences(SIZES, CHANNELS), "generator": generator_differences((9, 8), [4, 8])}))
