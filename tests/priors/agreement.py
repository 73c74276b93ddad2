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

Shape = tuple[int, int, int, int]
"""Height, width, channels in and out."""

# Where blocks are small, each has several programs along every dimension, the last of them cut short; at sides of 2
# and 3 reflections meet; eight channels are a whole step of a sum, five are not.
BARE: list[Shape] = [(2, 3, 2, 3)]
CONVOLVED: list[Shape] = [(3, 2, 8, 8), (5, 7, 5, 6)]
SIZES = [(2, 3)]


def differences(
    bare: Sequence[Shape],
    convolved: Sequence[Shape],
    sizes: Sequence[tuple[int, int]],
    problems: int = 2,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> dict[str, list[float]]:
    """Norms of differences over norms of what plain PyTorch gives in float64: of outputs, then of gradients.

    Args:
        bare: Shapes of convolutions by themselves.
        convolved: Shapes of convolutions with their norm, ReLU and, from sides of 4 on, maxima.
        sizes: Heights and widths of coarse images, and of those whose pixels are projected.
        problems: Networks side by side.
        device: Where kernels run.
        dtype: Type of activations.
    """
    from readout.priors.cuda import kernels

    found = {}
    for height, width, channels_in, channels_out in bare:
        draw = _drawing(device, dtype)
        x, weight = draw(problems, height, width, channels_in), draw(problems, channels_out, channels_in, 3, 3)
        found[f"convolution {height}×{width}, {channels_in} to {channels_out}"] = _compare(
            kernels,
            lambda layers, *inputs: (layers.projected if layers is kernels else layers.convolution)(*inputs),
            [x, weight.float()],
        )
    for height, width, channels_in, channels_out in convolved:
        draw = _drawing(device, dtype)
        x, weight = draw(problems, height, width, channels_in), draw(problems, channels_out, channels_in, 3, 3)
        norm = [draw(problems, channels_out).float() for _ in range(2)]
        pooled = min(height, width) > 3
        found[f"convolved {height}×{width}, {channels_in} to {channels_out}{', pooled' if pooled else ''}"] = _compare(
            kernels,
            lambda layers, *inputs, pooled=pooled: layers.convolved(*inputs, pooled),
            [x, weight.float(), *norm],
        )
    for height, width in sizes:
        for odd in (0, 1):
            draw = _drawing(device, dtype)
            parts = [draw(problems, height, width, 6), draw(problems, 2 * height + odd, 2 * width + odd, 5)]
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
        # parts of wider ones, as a join hands on
        wider = [torch.randn(*part.shape[:-1], part.shape[-1] + 2, generator=generator).to(part) for part in outputs]
        wanted = [part[..., 2:] for part in wider]
        results.append([*outputs, *torch.autograd.grad(outputs, own, wanted)])
    return [_distance(mine, other) for mine, other in zip(*results, strict=True)]


def _distance(mine: Tensor, other: Tensor) -> float:
    assert mine.shape == other.shape
    return ((mine.double() - other).norm() / other.norm()).item()


def _drawing(device: str, dtype: torch.dtype) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(shape, generator=generator).to(device, dtype)


if __name__ == "__main__":
    from importlib.metadata import version

    from packaging.version import Version

    from readout.priors.cuda import blocks, convolution, launch

    whole = generator_differences((6, 7), [3, 5])  # in blocks as they are
    blocks.PIXELS_PER_SHARE, launch.ELEMENTS = 8, 32
    # Triton before 3.3 multiplies no blocks below 16 × 16
    small = (16, 16, 16) if Version(version("triton")) < Version("3.3") else (16, 4, 8)
    vars(convolution)["blocks_of"] = lambda *_: blocks.Blocks(*small, stages=1)
    print(json.dumps({"layers": differences(BARE, CONVOLVED, SIZES), "generator": whole}))
