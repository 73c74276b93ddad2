"""The trajectory of a batch, kept on the device until it is read."""

from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

BLOCK = 256
"""Records per allocation: many small lasting tensors would fragment the memory that large ones reuse."""


class Trajectory:
    """Values of every problem at the recorded steps."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._blocks: dict[str, list[Tensor]] = {}

    def add(self, step: int, **values: Tensor) -> None:
        """Record tensors of shape (problems,) at a step, on their device; a step is recorded once."""
        if self.steps and self.steps[-1] == step:
            return
        row = len(self.steps) % BLOCK
        self.steps.append(step)
        for name, value in values.items():
            blocks = self._blocks.setdefault(name, [])
            if row == 0:
                blocks.append(value.new_empty(BLOCK, *value.shape))
            blocks[-1][row] = value

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"steps": list(self.steps), "values": {name: self.stacked(name) for name in self._blocks}}

    @classmethod
    def resumed(cls, state: dict[str, Any], device: torch.device) -> Self:
        """Restore a trajectory from :meth:`state` on a device."""
        trajectory = cls()
        values = {name: rows.to(device) for name, rows in state["values"].items()}
        for row, step in enumerate(state["steps"]):
            trajectory.add(step, **{name: rows[row] for name, rows in values.items()})
        return trajectory

    def latest(self) -> dict[str, Tensor]:
        """Return the newest values, on the CPU."""
        row = (len(self.steps) - 1) % BLOCK
        return {name: blocks[-1][row].cpu() for name, blocks in self._blocks.items()}

    def stacked(self, name: str) -> Tensor:
        """Return a quantity at all recorded steps, shape (steps, problems), on the CPU; NaN once a problem finished."""
        return torch.cat(self._blocks[name])[: len(self.steps)].cpu()

    def best(self, distance: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Return each problem's smallest d_X and its step, among recorded steps and the scored iterate.

        Args:
            distance: Scored d_X, shape (problems,).
            steps: Steps of the scored iterates, shape (problems,).
        """
        seen = torch.cat([self.stacked("distance"), distance.unsqueeze(0)]).nan_to_num(nan=torch.inf)
        at = torch.cat([torch.tensor(self.steps).unsqueeze(1).expand(-1, len(steps)), steps.unsqueeze(0)])
        best, row = seen.min(dim=0)
        # no d_X at all where the true input is unknown
        return best.masked_fill(best.isinf(), torch.nan), at.gather(0, row.unsqueeze(0)).squeeze(0)
