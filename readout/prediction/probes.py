"""Random vectors z with E[zzᵀ] = I, whose quadratic forms zᵀAz estimate traces (Hutchinson)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def random_signs(shape: Sequence[int], count: int, seed: int) -> Tensor:
    """Draw independent values of ±1, shape (count, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (count, *shape), generator=generator).float() * 2 - 1


def random_phases(shape: Sequence[int], count: int, seed: int) -> Tensor:
    """Draw noise of power 1 and random phase at every frequency of every channel, shape (count, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.fft.rfft2(torch.randn(count, *shape, generator=generator), norm="ortho")
    probes: Tensor = torch.fft.irfft2(spectrum / spectrum.abs(), shape[-2:], norm="ortho")
    return probes
