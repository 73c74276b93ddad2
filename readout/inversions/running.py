"""Which problems of a batch are still optimised, and what counts of those that are not."""

from typing import Any

import torch
from torch import Tensor


class Running:
    """Keeps account of a batch whose problems end one by one, and may leave it.

    Everything lies on one device, has one row for every problem of the batch, and waits for nothing.

    Args:
        inputs: Any tensor shaped as the iterates to keep, (problems, ...).
    """

    def __init__(self, inputs: Tensor) -> None:
        count = len(inputs)
        self.rows = torch.arange(count, device=inputs.device)
        """Which problems are still in the batch."""
        self.ended = torch.full((count,), -1, device=inputs.device)
        """The step at which each arrived or died; −1 while it runs."""
        self.dead = torch.zeros(count, dtype=torch.bool, device=inputs.device)
        """Whose prior collapsed, or whose loss was not finite."""
        self._kept = torch.zeros_like(inputs)

    def state(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {"rows": self.rows, "ended": self.ended, "dead": self.dead, "kept": self._kept}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        device = self.rows.device
        self.rows, self.ended = state["rows"].to(device), state["ended"].to(device)
        self.dead, self._kept = state["dead"].to(device), state["kept"].to(device)

    def spread(self, values: Tensor, filler: float) -> Tensor:
        """Values of those in the batch at their places among all problems, and ``filler`` for the others."""
        if len(values) == len(self.ended):
            return values
        return values.new_full((len(self.ended), *values.shape[1:]), filler).index_copy(0, self.rows, values)

    def end(self, arrived: Tensor, died: Tensor, step: int, iterates: Tensor) -> None:
        """Keep the present iterates of problems that arrive or die; of those that ended before, nothing changes.

        Args:
            arrived: Which have, shape (problems,).
            died: The same.
            step: The present one.
            iterates: Shape (problems, ...).
        """
        running = self.ended < 0
        newly = (arrived | died) & running
        self.dead |= died & running
        self._kept = torch.where(newly.view(-1, *[1] * (iterates.ndim - 1)), iterates, self._kept)
        self.ended = torch.where(newly, step, self.ended)

    def staying(self) -> Tensor:
        """Places in the present batch whose problems go on; waits for the device."""
        return (self.ended[self.rows] < 0).nonzero().squeeze(1)

    def iterates(self, last: Tensor) -> Tensor:
        """The iterate that counts of each: the one that was kept, or the last."""
        return torch.where((self.ended >= 0).view(-1, *[1] * (last.ndim - 1)), self._kept, last)

    def steps(self, last: int) -> Tensor:
        """The step of each one's iterate that counts."""
        return torch.where(self.ended >= 0, self.ended, last)
