"""Invertible worlds, which make observations from latents, and how linear one representation is in another."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
"""Of the leaky ReLU below 0."""


class World(nn.Module):
    """An invertible network g: layers of a random rotation, with a leaky ReLU between them.

    Args:
        dimensions: Of latents, and of observations.
        layers: Number of rotations; with one, the world is linear.
        seed: Seed of the rotations.
    """

    rotations: Tensor
    """Shape (layers, dimensions, dimensions)."""

    def __init__(self, dimensions: int, layers: int = 3, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        matrices = torch.randn(layers, dimensions, dimensions, generator=generator)
        self.register_buffer("rotations", torch.linalg.qr(matrices)[0])

    def forward(self, latents: Tensor) -> Tensor:
        """Return the observations x = g(z), shape (samples, dimensions)."""
        x = latents @ self.rotations[0]
        for rotation in self.rotations[1:]:
            x = F.leaky_relu(x, SLOPE) @ rotation
        return x

    def inverse(self, observations: Tensor) -> Tensor:
        """Return the latents of observations."""
        z = observations @ self.rotations[-1].T
        for rotation in self.rotations[:-1].flip(0):
            z = F.leaky_relu(z, 1 / SLOPE) @ rotation.T
        return z


def encoder(*widths: int, seed: int = 0) -> nn.Sequential:
    """Return a network of linear layers between these widths, with ReLUs between the layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(before, after) for before, after in pairwise(widths)]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))[:-1]


def affine_fit(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Return the least-squares solution from inputs with a constant appended, shape (inputs + 1, outputs)."""
    solution: Tensor = torch.linalg.lstsq(_with_constant(inputs), outputs.double()).solution
    return solution


def linear_r2(inputs: Tensor, outputs: Tensor) -> float:
    """Return the share of the outputs' variance that an affine map explains, fitted on one half, on the other half.

    Args:
        inputs: Shape (samples, inputs).
        outputs: Shape (samples, outputs); their variances are pooled.
    """
    half = len(inputs) // 2
    predicted = _with_constant(inputs[half:]) @ affine_fit(inputs[:half], outputs[:half])
    true = outputs[half:].double()
    return 1 - float((true - predicted).square().sum() / (true - true.mean(0)).square().sum())


def _with_constant(inputs: Tensor) -> Tensor:
    return F.pad(inputs.double(), (0, 1), value=1.0)
