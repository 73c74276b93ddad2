"""Moving a feature away from where an input put it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from readout.checks import check_choice, check_list, check_number
from readout.errors import ReadoutError

__all__ = ["CONSTANT", "GaussianPerturbation", "Perturbation", "check_levels", "noise_to_signal"]

CONSTANT = "the same value everywhere, so no perturbation has a correlation distance to it"
"""What a feature has that can't be perturbed."""


class Perturbation(ABC):
    """A rule (h, level, seed) → h', applied to every problem of a batch on its own.

    The same seed gives the same direction at every level (common random numbers).
    """

    @abstractmethod
    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        """Perturb each row of ``feature``.

        Args:
            feature: Clean features h, shape (problems, ...).
            levels: Target level of each problem, in [0, 1), shape (problems,).
            seeds: Seed of each problem's noise.
            mask: What a feature consists of, over leading dimensions: (problems, positions); the rest is padding, and
                stays as it is. Given for texts only, so a perturbation for images can do without.

        Returns:
            The perturbed features h', of the shape, type and device of ``feature``.
        """


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


def check_levels(levels: Iterable[float]) -> list[float]:
    """Return the levels.

    Raises:
        ReadoutError: unless every level lies in [0, 1), and there is one.
    """
    hint = ": a target correlation distance, 0 for no noise and 0.99 for nearly nothing but noise"
    listed = check_list("levels", levels, "[0, 0.5, 0.9]")
    return [float(check_number("A level", level, 0, below=1, hint=hint)) for level in listed]
