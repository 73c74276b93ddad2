"""Distances between sparse codes."""

import torch
from torch import Tensor

from readout.metrics.base import SampleMetric

LEAST_SHARE = 1e-3
"""Share of the largest latent of a code above which a latent is active."""


class SupportDistance(SampleMetric):
    """Jaccard distance between the active latents of two codes: 1 − |both| / |either|.

    Latents above 1/1000 of the largest are active. Below the default threshold no latent may be wrong.

    Examples:
        >>> true = torch.tensor([[1.0, 0.5, 0.0, 0.0]])
        >>> SupportDistance().per_sample(torch.tensor([[0.8, 0.0, 0.0, 0.3]]), true).round(decimals=2)
        tensor([0.6700])
    """

    name = "support_distance"
    higher_is_better = False
    threshold = 1e-6

    def per_sample(self, recovered: Tensor, true: Tensor) -> Tensor:
        """See :class:`SampleMetric`; shape (samples, latents). NaN where a code has a NaN."""
        one, other = active_latents(recovered), active_latents(true)
        either = (one | other).sum(1)
        distance = 1 - (one & other).sum(1) / either.clamp_min(1)
        # two codes without an active latent agree
        return distance.where(either > 0, 0.0).masked_fill((recovered + true).isnan().any(1), torch.nan)


def active_latents(codes: Tensor) -> Tensor:
    """Return where latents exceed 1/1000 of the largest of their code, shape (samples, latents)."""
    sizes = codes.abs()
    return sizes > LEAST_SHARE * sizes.amax(1, keepdim=True)
