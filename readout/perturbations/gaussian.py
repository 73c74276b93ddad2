"""GaussianPerturbation: the paper's noise, at a target correlation distance."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from readout.common.checks import check_choice
from readout.common.errors import ReadoutError
from readout.perturbations.base import CONSTANT, Perturbation, check_levels


class GaussianPerturbation(Perturbation):
    """Add i.i.d. Gaussian noise for a target correlation distance c.

    The paper's rule: h' = h + ε with variance σ² = Var(h)·((1 − c)⁻² − 1), so that the *expected*
    correlation between h' and h is 1 − c. With ``calibration="exact"`` the noise is made orthogonal to
    h and to the constant vector, and scaled so that the realised distance *is* c.

    Args:
        calibration: ``"expected"`` (the paper) or ``"exact"``.

    Raises:
        ReadoutError: if ``calibration`` is neither.
    """

    def __init__(self, calibration: Literal["expected", "exact"] = "expected") -> None:
        check_choice("calibration", calibration, ("expected", "exact"))
        self.calibration = calibration

    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        """See :class:`Perturbation`; level 0 returns the feature unchanged, to the bit.

        Raises:
            ReadoutError: if a feature is constant (no direction is a change of correlation) or a level
                is outside [0, 1).
        """
        check_levels(levels.tolist())
        perturbed = feature.clone()
        for row, (level, seed) in enumerate(zip(levels.tolist(), seeds, strict=True)):
            if level == 0:
                continue
            # float64 on the CPU: the same noise on every device, and sums over 10⁶ dimensions stay exact.
            whole = feature[row] if mask is None else feature[row][mask[row]]
            clean = whole.detach().double().cpu().flatten()
            noise = torch.randn(clean.numel(), generator=torch.Generator().manual_seed(seed)).double()
            if (clean == clean[0]).all():  # compared, not computed: rounding may leave a variance
                raise ReadoutError(f"A feature has {CONSTANT}; check the input and the layer.")
            moved = clean + noise_to_signal(level) * self._scaled(noise, clean - clean.mean())
            moved = moved.reshape(whole.shape).to(perturbed)
            if mask is None:
                perturbed[row] = moved
            else:
                perturbed[row, mask[row]] = moved
        return perturbed

    def _scaled(self, noise: Tensor, centred: Tensor) -> Tensor:
        """Noise of the feature's own standard deviation; orthogonal to it if exact."""
        if self.calibration == "expected":
            return noise * centred.std(unbiased=False)
        noise = noise - noise.mean()
        noise = noise - centred * (noise @ centred) / (centred @ centred)
        exact: Tensor = noise * (centred.norm() / noise.norm())
        return exact


def noise_to_signal(level: float) -> float:
    """σ / std(h) for a target correlation distance: √((1 − c)⁻² − 1), e.g. 1.73 at c = 0.5.

    Args:
        level: Target correlation distance c, in [0, 1).
    """
    return float(((1 - level) ** -2 - 1) ** 0.5)
