"""The paper's perturbation: Gaussian noise at a target correlation distance."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from readout.common.checks import check_choice
from readout.common.errors import ReadoutError
from readout.perturbations.base import CONSTANT, Perturbation, check_levels


class GaussianPerturbation(Perturbation):
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

    def __init__(self, calibration: Literal["expected", "exact"] = "expected") -> None:
        check_choice("calibration", calibration, ("expected", "exact"))
        self.calibration = calibration

    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        """See :class:`Perturbation`; level 0 returns the feature bit for bit.

        Raises:
            ReadoutError: if a feature is constant, so that correlation with it is undefined, or a level is outside
                [0, 1).
        """
        check_levels(levels.tolist())
        perturbed = feature.clone()
        for row, (level, seed) in enumerate(zip(levels.tolist(), seeds, strict=True)):
            if level == 0:
                continue
            # on the CPU, so that the noise does not depend on the device; in float64, so that sums over
            # millions of dimensions keep their digits
            whole = feature[row] if mask is None else feature[row][mask[row]]
            clean = whole.detach().double().cpu().flatten()
            noise = torch.randn(clean.numel(), generator=torch.Generator().manual_seed(seed)).double()
            if (clean == clean[0]).all():  # not by variance, which rounding may leave above zero
                raise ReadoutError(f"A feature has {CONSTANT}; check the input and the layer.")
            moved = clean + noise_to_signal(level) * self._scaled(noise, clean - clean.mean())
            moved = moved.reshape(whole.shape).to(perturbed)
            if mask is None:
                perturbed[row] = moved
            else:
                perturbed[row, mask[row]] = moved
        return perturbed

    def _scaled(self, noise: Tensor, centred: Tensor) -> Tensor:
        """Scale noise to the feature's standard deviation; exact calibration also removes its component along h."""
        if self.calibration == "expected":
            return noise * centred.std(unbiased=False)
        # centred, orthogonal and of equal norm: Pearson's r of h + a·noise with h is then exactly 1 / √(1 + a²)
        noise = noise - noise.mean()
        noise = noise - centred * (noise @ centred) / (centred @ centred)
        exact: Tensor = noise * (centred.norm() / noise.norm())
        return exact


def noise_to_signal(level: float) -> float:
    """Return σ / std(h) = √((1 − c)⁻² − 1) for a target correlation distance.

    Args:
        level: Target correlation distance c, in [0, 1).

    Examples:
        >>> round(noise_to_signal(0.5), 2)
        1.73
    """
    return float(((1 - level) ** -2 - 1) ** 0.5)
