"""The noise in a feature, estimated from that feature alone."""

import torch
from torch import Tensor

POINTS, ROUNDS = 33, 3
"""Grid points per round, and rounds, each on the two intervals around the best point of the round before."""

SMALLEST = 1e-12
"""Smallest noise variance that is tried, as a share of the largest variance of a clean feature."""


@torch.no_grad()
def noise_variance(energies: Tensor, variances: Tensor, spare_energy: Tensor, spare: int) -> Tensor:
    """Estimate the variance σ² of isotropic noise by maximum likelihood, for each row by itself.

    The row h′ is taken as N(h̄, Vᵀ Λ V + σ² I) in D dimensions: Λ the variances of a clean feature along the r
    directions V, and nothing but noise in the D − r other dimensions.

    Args:
        energies: Squared coordinates of h′ − h̄ along the directions, shape (rows, r); means over positions where
            several share one σ².
        variances: Λ ≥ 0, shape (r,).
        spare_energy: Squared norm of h′ − h̄ in the other dimensions, shape (rows,); a mean over positions too.
        spare: Number of the other dimensions, D − r.

    Returns:
        σ², shape (rows,); practically 0 is :data:`SMALLEST` of the largest variance.

    Examples:
        >>> variances = torch.tensor([4.0, 1.0, 0.0, 0.0])
        >>> noise_variance(variances.add(0.5).unsqueeze(0), variances, torch.zeros(1), 0).round(decimals=2)
        tensor([0.5000])
    """
    least = (SMALLEST * variances.max()).clamp_min(torch.finfo(variances.dtype).tiny)
    # the likelihood falls where the noise alone exceeds every energy
    most = torch.maximum(energies.amax(1), spare_energy / max(spare, 1)).clamp_min(least)
    low, high = least.log().expand_as(most), most.log()
    share = torch.linspace(0, 1, POINTS, dtype=variances.dtype, device=variances.device)
    for _ in range(ROUNDS):
        grid = torch.lerp(low.unsqueeze(0), high.unsqueeze(0), share.unsqueeze(1))
        cost = torch.stack([_surprise(logs.exp(), energies, variances, spare_energy, spare) for logs in grid])
        best = cost.argmin(0, keepdim=True)
        low = grid.gather(0, (best - 1).clamp_min(0))[0]
        high = grid.gather(0, (best + 1).clamp_max(POINTS - 1))[0]
    return grid.gather(0, best)[0].exp()


def _surprise(noise: Tensor, energies: Tensor, variances: Tensor, spare_energy: Tensor, spare: int) -> Tensor:
    """Return −2 log likelihood up to a constant, shape (rows,)."""
    total = variances + noise.unsqueeze(1)
    return (total.log() + energies / total).sum(1) + spare * noise.log() + spare_energy / noise
