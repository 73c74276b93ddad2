"""A table of latents: how often each is active, how large it is, and how far features can move before it is lost."""

import pandas as pd
import torch
from torch import Tensor

from readout.codes import Coder
from readout.problems.identity import derive_seed
from readout.representation import noise_ratio

LEVELS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

THRESHOLD = 0.1
"""t: a latent counts as read while 1 − its correlation over rows is below."""

ROWS = 1024
"""Rows whose codes are inferred together."""


@torch.no_grad()
def latents_table(coder: Coder, feature: Tensor, iterations: int, seed: int = 0) -> pd.DataFrame:
    """Return one row per latent.

    Rows move by Gaussian noise, in one direction at all levels, whose variance follows from that of all features. A
    latent's size is the level at which the correlation, over rows, between its values before and after the move falls
    below 1 − t, by linear interpolation between levels.

    Args:
        coder: Infers codes; prepared for its dictionary.
        feature: Standardised features, shape (rows, M).
        iterations: Most iterations of the coder.
        seed: Seed of the noise.

    Returns:
        ``latent``; ``frequency``, the share of rows in which it is active; ``magnitude``, its mean where it is active;
        ``dead``; and ``size``, NaN for a latent that never changes.
    """
    generator = torch.Generator().manual_seed(derive_seed("latents", seed))
    noise = torch.randn(feature.shape, generator=generator) * feature.std()
    clean = _codes(coder, feature, iterations)
    distances = [torch.zeros(clean.shape[1])]
    for ratio in noise_ratio(LEVELS[1:]).tolist():
        distances.append(1 - _correlations(clean, _codes(coder, feature + ratio**0.5 * noise, iterations)))
    active = clean != 0
    return pd.DataFrame(
        {
            "latent": range(clean.shape[1]),
            "frequency": active.float().mean(0),
            "magnitude": clean.abs().sum(0) / active.sum(0),
            "dead": ~active.any(0),
            "size": _crossings(torch.stack(distances)),
        }
    )


def _codes(coder: Coder, feature: Tensor, iterations: int) -> Tensor:
    return torch.cat([coder.infer(rows, iterations) for rows in torch.split(feature, ROWS)])


def _correlations(one: Tensor, other: Tensor) -> Tensor:
    """Return the correlation of each column, NaN where the first is constant and 0 where the second one is."""
    one, other = one - one.mean(0), other - other.mean(0)
    norm = other.norm(dim=0)
    found: Tensor = (one * other).sum(0) / one.norm(dim=0) / norm
    return found.where((norm > 0) | (one == 0).all(0), 0.0)


def _crossings(distances: Tensor) -> Tensor:
    """Return the level at which each column first exceeds t, the largest level if it never does."""
    levels = torch.tensor(LEVELS, dtype=distances.dtype)
    after = (distances >= THRESHOLD).int().argmax(0).clamp_min(1)
    low, high = (distances.gather(0, place.unsqueeze(0)).squeeze(0) for place in (after - 1, after))
    share = (THRESHOLD - low) / (high - low)
    found = levels[after - 1] + share * (levels[after] - levels[after - 1])
    found = found.where((distances >= THRESHOLD).any(0), levels[-1])
    return found.masked_fill(distances[-1].isnan(), torch.nan)
