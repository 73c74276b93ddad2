"""Perturbation: a rule that moves a feature away from where an input put it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from torch import Tensor

from readout.common.checks import check_list, check_number

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


def check_levels(levels: Iterable[float]) -> list[float]:
    """Return the levels.

    Raises:
        ReadoutError: unless every level lies in [0, 1), and there is one.
    """
    hint = ": a target correlation distance, 0 for no noise and 0.99 for nearly nothing but noise"
    listed = check_list("levels", levels, "[0, 0.5, 0.9]")
    return [float(check_number("A level", level, 0, below=1, hint=hint)) for level in listed]
