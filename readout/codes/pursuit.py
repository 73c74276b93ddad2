"""Codes by pursuit: one more latent per iteration, the one that explains most of what is left."""

from collections.abc import Sequence

import torch
from torch import Tensor

from readout.codes.coder import Coder
from readout.common.errors import ReadoutError


class MatchingPursuit(Coder):
    """Matching pursuit (Mallat & Zhang, 1993): adds the atom nearest to what is left; K iterations.

    Args:
        active: K, number of iterations, and the largest number of active latents.
        nonnegative: See :class:`Coder`.

    Raises:
        ReadoutError: if ``active`` is below 1.
    """

    active: int

    def __init__(self, active: int, nonnegative: bool = True) -> None:
        super().__init__(active, nonnegative)

    def steps(self, most: int) -> int:
        """Return K.

        Raises:
            ReadoutError: if there may be fewer.
        """
        if most < self.active:
            raise ReadoutError(
                f"{self.active} latents take as many iterations, but trainer.max_steps is {most}; set it to "
                f"{self.active} or more."
            )
        return self.active

    def iterate(self) -> None:
        """See :class:`Coder`."""
        found = (self.feature - self.codes @ self.atoms) @ self.atoms.T
        nearest = self._sizes(found).argmax(1, keepdim=True)
        more = found.gather(1, nearest)
        self.codes = self.codes.scatter_add(1, nearest, more.clamp_min(0) if self.nonnegative else more)

    def read_out(self, inputs: Tensor) -> Tensor:
        """Return the codes as they are."""
        return inputs


class OrthogonalMatchingPursuit(MatchingPursuit):
    """Orthogonal matching pursuit (Pati et al., 1993): all chosen latents are fitted anew in each iteration.

    Args:
        active: K, number of iterations, and of chosen latents.
        nonnegative: See :class:`Coder`.

    Raises:
        ReadoutError: if ``active`` is below 1.
    """

    support: Tensor
    """Latents chosen so far, shape (problems, iterations), in order."""

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        """See :class:`Coder`."""
        super().initialise(seeds, input_shape)
        none = torch.empty(len(seeds), 0, dtype=torch.long, device=self.atoms.device)
        self.register_buffer("support", none, persistent=False)

    def iterate(self) -> None:
        """See :class:`Coder`."""
        found = self._sizes((self.feature - self.codes @ self.atoms) @ self.atoms.T)
        nearest = found.scatter(1, self.support, -torch.inf).argmax(1, keepdim=True)
        self.support = torch.cat([self.support, nearest], 1)
        self.codes = self.refit(self.support)
