"""Loss of units."""

import torch
from torch import Tensor

from readout.perturbations.base import Origin, RowPerturbation


class UnitLoss(RowPerturbation):
    """Loss of random units of a feature, which take the feature's mean value.

    A share s of exchangeable units leaves a correlation of √(1 − s), so the share at level c is 1 − (1 − c)². More
    units are lost at a higher level, and those lost at a lower one are among them.

    Examples:
        >>> from readout.metrics import correlation_distance
        >>> h = torch.randn(1, 10_000, generator=torch.Generator().manual_seed(0))
        >>> moved = UnitLoss()(h, torch.tensor([0.5]), seeds=[0])
        >>> round(float((moved != h).float().mean()), 2), round(float(correlation_distance(moved, h)), 2)
        (0.75, 0.5)
    """

    def move(self, clean: Tensor, level: float, seed: int, origin: Origin | None) -> Tensor:
        """See :class:`RowPerturbation`."""
        order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
        lost = order[: round((1 - (1 - level) ** 2) * len(clean))]
        return clean.index_fill(0, lost, float(clean.mean()))
