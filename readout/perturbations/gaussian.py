"""The paper's perturbation: Gaussian noise at a target correlation distance."""

import torch
from torch import Tensor

from readout.perturbations.base import DirectedPerturbation, Origin


class GaussianPerturbation(DirectedPerturbation):
    """Gaussian noise, i.i.d. over dimensions, that moves a feature to a target correlation distance c.

    The paper's rule is h' = h + ε with Var(ε) = Var(h)·((1 − c)⁻² − 1), so that the *expected* correlation
    between h' and h is 1 − c. With ``calibration="exact"``, the noise is projected orthogonal to h and to the
    constant vector and rescaled, so that the *realised* distance is c.

    Args:
        calibration: ``"expected"`` (the paper's) or ``"exact"``.

    Raises:
        ReadoutError: if ``calibration`` is neither.

    Examples:
        >>> from readout.metrics import correlation_distance
        >>> h = torch.linspace(0, 1, 1000).unsqueeze(0)
        >>> moved = GaussianPerturbation("exact")(h, torch.tensor([0.5]), seeds=[0])
        >>> round(float(correlation_distance(moved, h)), 4)
        0.5
    """

    def direction(self, clean: Tensor, generator: torch.Generator, origin: Origin | None) -> Tensor:
        """See :class:`DirectedPerturbation`."""
        return torch.randn(clean.numel(), generator=generator, dtype=torch.float32).double()
