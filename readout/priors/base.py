"""Prior: the parameters an inversion optimises, and the map from them to inputs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from readout.extractors import FeatureExtractor


class Prior(nn.Module, ABC):
    """Parameters of their own for every problem of a batch, and the map from them to inputs.

    A subclass keeps each argument of ``__init__`` under its own name: results are told apart by them.
    """

    capturable: ClassVar[bool] = False
    """Whether a GPU can take the map into a graph: nothing in it waits for the device, or differs from step to step."""

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Learn from the network what inputs are made of, such as its vocabulary; nothing by default."""

    @abstractmethod
    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        """Make fresh parameters, one set a problem, each from its own seed.

        Args:
            seeds: One seed a problem.
            input_shape: Shape of one input, without the batch.
        """

    def keep(self, rows: Tensor) -> bool:
        """Go on with these problems only; the others are done.

        Parameters stay the same objects, with fewer rows in their ``data``.

        Args:
            rows: Places among the present problems, ascending.

        Returns:
            Whether that was done; by default it is not, and problems that are done stay in their batch.
        """
        return False

    def lay_out(self, device: torch.device) -> None:
        """Lay parameters out in memory as the device reads them best, before the first step; nothing by default.

        Args:
            device: Where they are.
        """

    @abstractmethod
    def forward(self) -> Tensor:
        """The inputs that the parameters stand for, as the extractor takes them, shape (problems, ...)."""

    def read_out(self, inputs: Tensor) -> Tensor:
        """What is scored and kept of :meth:`forward`'s inputs, shape (problems, *input_shape); the same by default."""
        return inputs

    def progress(self) -> dict[str, Any]:
        """What optimisation has come to, for a checkpoint; by default all that needs a gradient, and every buffer.

        Whatever else :meth:`initialise` makes and a step changes, such as a random number generator, belongs here too.
        """
        learned = [(name, parameter) for name, parameter in self.named_parameters() if parameter.requires_grad]
        return {name: tensor.detach() for name, tensor in (*learned, *self.named_buffers())}

    def resume(self, progress: dict[str, Any]) -> None:
        """Go on from :meth:`progress`; called after :meth:`initialise` and :meth:`keep`."""
        for name, tensor in progress.items():
            owner, _, last = name.rpartition(".")
            getattr(self.get_submodule(owner), last).data = tensor

    def penalty(self, recovered: Tensor) -> Tensor:
        """What each problem pays on top of its feature loss, shape (problems,); nothing by default."""
        return recovered.new_zeros(len(recovered))

    def fingerprint(self) -> str:
        """Digest of what the prior knows beside its settings, such as a decoder's weights; nothing by default."""
        return ""

    def is_dead(self, recovered: Tensor) -> Tensor:
        """Which problems have collapsed and want a fresh start, shape (problems,); none by default."""
        return torch.zeros(len(recovered), dtype=torch.bool, device=recovered.device)
