"""Codes in one pass over the atoms."""

from readout.codes.coder import Coder
from readout.common.checks import check_number
from readout.common.errors import ReadoutError


class OnePass(Coder):
    """The matched filter s = Dᵀ h', of which the largest latents, or those above a threshold, are kept.

    In superposition every active latent shows in all others, by the cosine of their atoms, and one pass can't tell
    such interference from a latent (:func:`readout.code_theory.one_pass_distance`).

    Args:
        active: K, number of latents to keep; see :class:`Coder`.
        threshold: Smallest latent to keep, in units of the feature; instead of ``active``.
        nonnegative: See :class:`Coder`.

    Raises:
        ReadoutError: if a number is out of range, or both are given.
    """

    one_pass = True

    def __init__(self, active: int | None = None, threshold: float | None = None, nonnegative: bool = True) -> None:
        super().__init__(active, nonnegative)
        if active is not None and threshold is not None:
            raise ReadoutError("Latents are kept by active or by threshold, not by both; leave one out.")
        self.threshold = None if threshold is None else check_number("threshold", threshold, 0)

    def steps(self, most: int) -> int:
        """Return 1."""
        return 1

    def iterate(self) -> None:
        """See :class:`Coder`."""
        found = self.feature @ self.atoms.T
        if self.threshold is not None:
            found = found.where(self._sizes(found) >= self.threshold, 0)
        self.codes = found.clamp_min(0) if self.nonnegative else found
