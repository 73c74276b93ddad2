"""Codes of least squares with an ℓ1 penalty (LASSO), by iterations that shrink."""

from collections.abc import Sequence

import torch
from torch import Tensor

from readout.codes.coder import Coder
from readout.common.checks import check_number
from readout.common.errors import ReadoutError
from readout.extractors import FeatureExtractor


def largest_step(atoms: Tensor) -> Tensor:
    """Return 1 / L with L the largest eigenvalue of DᵀD, the largest step at which ISTA's objective never rises.

    Args:
        atoms: Shape (..., N, M).

    Returns:
        Shape (...).
    """
    wide = atoms.double()
    wide = wide if wide.shape[-2] <= wide.shape[-1] else wide.mT
    eigenvalues: Tensor = torch.linalg.eigvalsh(wide @ wide.mT)
    return 1 / eigenvalues[..., -1]


class ISTA(Coder):
    """Iterative shrinkage-thresholding: minimises ½‖D s − h'‖² + λ‖s‖₁, which is convex, by gradient and shrinkage.

    The step is 1 / L with L the largest eigenvalue of DᵀD, so the objective never rises.

    Args:
        penalty_weight: λ, in units of the feature.
        active: See :class:`Coder`. Where latents are kept by number, verdicts compare squared errors alone; otherwise
            the objective, penalty included.
        nonnegative: See :class:`Coder`.

    Raises:
        ReadoutError: if a number is out of range.
    """

    def __init__(self, penalty_weight: float = 0.01, active: int | None = None, nonnegative: bool = True) -> None:
        super().__init__(active, nonnegative)
        self.penalty_weight = check_number("penalty_weight", penalty_weight, 0)

    def penalty(self, recovered: Tensor) -> Tensor:
        """Return 2λ/M ‖s‖₁, which is on the scale of a mean squared error."""
        weight = 0.0 if self.active is not None else 2 * self.penalty_weight / self.atoms.shape[1]
        return weight * recovered.abs().sum(1)

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """See :class:`Coder`; finds the step."""
        super().prepare_for(extractor)
        self.step: Tensor | float = float(largest_step(self.atoms))

    def check(self, feature: Tensor) -> None:
        """Check that the penalty leaves latents active.

        Raises:
            ReadoutError: if it leaves none.
        """
        # at s = 0 the gradient of the squared error is −Dᵀh'
        largest = float(self._sizes(feature.to(self.atoms) @ self.atoms.T).max())
        if self.penalty_weight >= largest:
            raise ReadoutError(
                f"With a penalty_weight of {self.penalty_weight:g} no latent is active in the code of the first input; "
                f"give less than {largest:.3g}."
            )

    def start(self, codes: Tensor) -> None:
        """Set the codes from which iterations go on, shape (problems, N)."""
        self.codes = codes

    def iterate(self) -> None:
        """See :class:`Coder`."""
        self.codes = self._shrunk(self.codes)

    def _shrunk(self, codes: Tensor) -> Tensor:
        """Take a gradient step from these codes, and shrink."""
        moved = codes - self.step * (codes @ self.atoms - self.feature) @ self.atoms.mT
        return self._shrink(moved, self.step * self.penalty_weight)

    def _shrink(self, values: Tensor, by: Tensor | float) -> Tensor:
        if self.nonnegative:
            return (values - by).clamp_min(0)
        return values.sign() * (values.abs() - by).clamp_min(0)


class FISTA(ISTA):
    """ISTA with momentum (Beck & Teboulle, 2009), which restarts for each problem whose momentum points uphill.

    Of n iterations, the objective is within O(1/n²) of its minimum. The restart is O'Donoghue & Candès' (2015), by the
    gradient.

    Args:
        penalty_weight: See :class:`ISTA`.
        active: See :class:`ISTA`.
        nonnegative: See :class:`Coder`.
    """

    ahead: Tensor
    """Codes moved on by the momentum."""
    age: Tensor
    """t, by which momentum grows, shape (problems, 1)."""

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        """See :class:`Coder`."""
        super().initialise(seeds, input_shape)
        self.register_buffer("ahead", self.codes.clone(), persistent=False)
        self.register_buffer("age", self.codes.new_ones(len(seeds), 1), persistent=False)

    def start(self, codes: Tensor) -> None:
        """See :class:`ISTA`."""
        self.codes = self.ahead = codes
        self.age = codes.new_ones(*codes.shape[:-1], 1)

    def iterate(self) -> None:
        """See :class:`Coder`."""
        found = self._shrunk(self.ahead)
        moved = found - self.codes
        uphill = ((self.ahead - found) * moved).sum(-1, keepdim=True) > 0
        age = torch.where(uphill, 1.0, self.age)
        self.age = (1 + (1 + 4 * age.square()).sqrt()) / 2
        self.ahead = found + (age - 1) / self.age * moved
        self.codes = found


class CoordinateDescent(ISTA):
    """Minimises the objective of :class:`ISTA` one latent at a time; an iteration updates all, in order.

    Args:
        penalty_weight: See :class:`ISTA`.
        active: See :class:`ISTA`.
        nonnegative: See :class:`Coder`.
    """

    def iterate(self) -> None:
        """See :class:`Coder`."""
        codes = self.codes.clone()
        left = self.feature - codes @ self.atoms
        for latent, atom in enumerate(self.atoms):  # of unit norm
            before = codes[:, latent]
            after = self._shrink(before + left @ atom, self.penalty_weight)
            left = left - (after - before).unsqueeze(1) * atom
            codes[:, latent] = after
        self.codes = codes
