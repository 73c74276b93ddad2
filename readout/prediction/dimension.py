"""Dimension: how many directions a feature moves in, by its Jacobian at one input or over a data set."""

from dataclasses import dataclass

import torch
from torch import Tensor

from readout.common.bidiagonal import Bidiagonalisation
from readout.common.checks import check_number, check_seed, check_whole
from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.extractors.jacobian import Jacobian
from readout.prediction.probes import random_signs

TRIMMED = 0.1
"""Share of the largest ratios that TwoNN leaves out, as its authors do."""


@dataclass(frozen=True)
class LocalDimension:
    """Dimension of a feature at one input, from the singular values σ of the Jacobian there."""

    rank: float
    """Number of the largest σ² that hold ``energy`` of their sum, between whole numbers by interpolation."""
    participation_ratio: float
    """(Σσ²)² / Σσ⁴: the number of equal σ² that would be as spread out."""
    energy: float
    """The share of Σσ² that counts."""
    probes: int
    """Random vectors that the spectrum is estimated from."""
    steps: int
    """Products with J and with Jᵀ per vector."""


def local_dimension(
    extractor: FeatureExtractor,
    layer: str,
    x: Tensor,
    energy: float = 0.99,
    probes: int = 4,
    steps: int = 64,
    seed: int = 0,
) -> LocalDimension:
    """Measure in how many directions a feature moves as the input moves a little.

    The spectrum of JᵀJ is estimated by stochastic Lanczos quadrature: a Golub–Kahan bidiagonalisation from random
    vectors gives Ritz values θ with weights w, and Σ g(σ²) ≈ Σ w g(θ) for every function g.

    Args:
        extractor: The frozen network.
        layer: A layer name of the extractor.
        x: One input in the user's space, shape (*input_shape), no batch.
        energy: Share of Σσ² that the rank counts, in (0, 1].
        probes: Number of random vectors.
        steps: Steps of the bidiagonalisation; at most the dimensions of ``x``.
        seed: Seed of the vectors.

    Raises:
        ReadoutError: if an argument is out of range, the layer can't be linearised, or the feature does not change with
            the input.

    Examples:
        >>> from readout.extractors import OrthonormalLinear
        >>> found = local_dimension(OrthonormalLinear((3, 8, 8), expansion=4), "linear", torch.rand(3, 8, 8), energy=1)
        >>> round(found.rank), round(found.participation_ratio)  # J has orthonormal columns
        (192, 192)
    """
    check_number("energy", energy, high=1, above=0)
    check_whole("probes", probes, 1)
    check_whole("steps", steps, 1)
    check_seed("seed", seed)
    x = x.detach().to(extractor.mean)
    jacobian = Jacobian(extractor, layer, x, copies=probes)
    starts = random_signs(x.shape, probes, seed).to(x)
    krylov = Bidiagonalisation(jacobian.forward, jacobian.transpose, starts)
    steps = min(steps, x.numel())
    krylov.extend(steps)
    squares, coefficients, _ = krylov.ritz()
    values, order = squares.flatten().sort(descending=True)
    weights = coefficients.square().flatten()[order] / probes
    total, fourth = float(weights @ values), float(weights @ values.square())
    if total == 0:
        raise ReadoutError(f"Layer {layer!r} does not change with this input, so it has no dimension; choose another.")
    return LocalDimension(_rank(values, weights, energy), total**2 / fourth, energy, probes, steps)


def two_nn(features: Tensor) -> float:
    """Estimate the dimension of the manifold that features lie on, from their two nearest neighbours.

    The ratio of the distances to the second and the first neighbour follows a Pareto law whose exponent is the
    dimension (Facco et al., "Estimating the intrinsic dimension of datasets by a minimal neighborhood information",
    2017). The estimate is biased down, the more the larger the dimension: of 2,000 points uniform in a cube of 2, 4 and
    8 dimensions it finds about 2.0, 3.9 and 7.2. It counts what varies between inputs, so it needs a data set and grows
    with it.

    Args:
        features: One per input, shape (inputs, ...), at least 10 different ones.

    Raises:
        ReadoutError: if there are fewer.

    Examples:
        >>> generator = torch.Generator().manual_seed(0)
        >>> plane = torch.rand(1000, 2, generator=generator) @ torch.randn(2, 50, generator=generator)
        >>> 1.8 < two_nn(plane) < 2.2
        True
    """
    flat = torch.unique(features.detach().flatten(1).double(), dim=0)
    if len(flat) < 10:
        raise ReadoutError(f"There are {len(flat)} different features; give at least 10, of as many inputs.")
    nearest = torch.cat([torch.cdist(part, flat).topk(3, largest=False).values for part in flat.split(512)])
    ratios = (nearest[:, 2] / nearest[:, 1]).log().sort().values
    kept = round((1 - TRIMMED) * len(ratios))
    share = torch.arange(1, kept + 1, dtype=torch.float64) / len(ratios)
    x, y = ratios[:kept], -(1 - share).log()
    return float((x @ y) / (x @ x))


def _rank(values: Tensor, weights: Tensor, energy: float) -> float:
    """Count the largest values that hold a share of the energy, each as often as its weight says."""
    held = (weights * values).cumsum(0)
    wanted = min(energy, 1.0) * float(held[-1])
    place = int((held < wanted * (1 - 1e-12)).sum())
    before = float(held[place - 1]) if place else 0.0
    return float(weights[:place].sum()) + (wanted - before) / float(values[place])
