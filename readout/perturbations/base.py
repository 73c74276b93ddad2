"""The base class of perturbations, and the check of their levels."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from torch import Tensor

from readout.common.checks import check_list, check_number

CONSTANT = "the same value everywhere, so no perturbation has a correlation distance to it"
"""Ends a sentence about a constant feature ("its feature has ...")."""


class Perturbation(ABC):
    """A rule (h, level, seed) → h', applied to each problem of a batch independently.

    The same seed gives the same direction at every level (common random numbers).
    """

    @abstractmethod
    def __call__(self, feature: Tensor, levels: Tensor, seeds: Sequence[int], mask: Tensor | None = None) -> Tensor:
        """Perturb each row of ``feature``.

        Args:
            feature: Clean features h, shape (problems, ...).
            levels: Target level per problem, in [0, 1), shape (problems,).
            seeds: Noise seed per problem.
            mask: True where a text has a token, shape (problems, positions); padding must stay unchanged. Passed for
                texts only, so a perturbation for images may omit the argument.

        Returns:
            Perturbed features h', with the shape, dtype and device of ``feature``.
        """


def check_levels(levels: Iterable[float]) -> list[float]:
    """Return the levels as a list of floats.

    Raises:
        ReadoutError: if there is no level, or one lies outside [0, 1).

    Examples:
        >>> check_levels((0, 0.5))
        [0.0, 0.5]
        >>> check_levels([1.0])
        Traceback (most recent call last):
        readout.common.errors.ReadoutError: A level is 1.0; give ...
    """
    hint = ": a target correlation distance, 0 for no noise and 0.99 for nearly nothing but noise"
    listed = check_list("levels", levels, "[0, 0.5, 0.9]")
    return [float(check_number("A level", level, 0, below=1, hint=hint)) for level in listed]
