"""Bookkeeping of a batch: active problems, and the scored iterates of finished ones."""

from typing import Any

import torch
from torch import Tensor


class Running:
    """State of a batch whose problems finish one by one and may be dropped.

    Tensors stay on the device, with one row per problem of the batch, dropped or not. Only :meth:`active` waits for the
    device.

    Args:
        inputs: Any tensor with the shape of the iterates, (problems, ...).
    """

    def __init__(self, inputs: Tensor) -> None:
        count = len(inputs)
        self.rows = torch.arange(count, device=inputs.device)
        """Indices of the problems that have not been dropped."""
        self.ended = torch.full((count,), -1, device=inputs.device)
        """Step at which each problem stopped or died; −1 while it is active."""
        self.dead = torch.zeros(count, dtype=torch.bool, device=inputs.device)
        """Whether each problem's prior collapsed or its loss was not finite."""
        self._kept = torch.zeros_like(inputs)

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"rows": self.rows, "ended": self.ended, "dead": self.dead, "kept": self._kept}

    def resume(self, state: dict[str, Any]) -> None:
        """Restore the state from :meth:`state`."""
        device = self.rows.device
        self.rows, self.ended = state["rows"].to(device), state["ended"].to(device)
        self.dead, self._kept = state["dead"].to(device), state["kept"].to(device)

    def scatter(self, values: Tensor, filler: float) -> Tensor:
        """Scatter the values of the problems still in the batch to all problems; dropped ones get ``filler``."""
        if len(values) == len(self.ended):
            return values
        return values.new_full((len(self.ended), *values.shape[1:]), filler).index_copy(0, self.rows, values)

    def end(self, arrived: Tensor, died: Tensor, step: int, iterates: Tensor) -> None:
        """Finish problems and keep their iterates; earlier finishes are final.

        Args:
            arrived: Problems stopped by the protocol, shape (problems,).
            died: Problems that died, same shape.
            step: Current step.
            iterates: Current iterates, shape (problems, ...).
        """
        running = self.ended < 0
        newly = (arrived | died) & running
        self.dead |= died & running
        self._kept = torch.where(newly.view(-1, *[1] * (iterates.ndim - 1)), iterates, self._kept)
        self.ended = torch.where(newly, step, self.ended)

    def active(self) -> Tensor:
        """Return the positions of active problems among :attr:`rows`; waits for the device."""
        return (self.ended[self.rows] < 0).nonzero().squeeze(1)

    def iterates(self, last: Tensor) -> Tensor:
        """Return each problem's scored iterate: the kept one, or the last."""
        return torch.where((self.ended >= 0).view(-1, *[1] * (last.ndim - 1)), self._kept, last)

    def steps(self, last: int) -> Tensor:
        """Return the step of each problem's scored iterate."""
        return torch.where(self.ended >= 0, self.ended, last)
