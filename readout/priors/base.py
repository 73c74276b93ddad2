"""The base class of priors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from readout.extractors import FeatureExtractor


class Prior(nn.Module, ABC):
    """One set of parameters per problem, and the map from them to inputs.

    A subclass keeps each argument of ``__init__`` as an attribute of the same name; keys of results are made from them.
    """

    capturable: bool = False
    """Whether :meth:`forward` can run in a CUDA graph: it never waits for the device, and every step is alike."""

    captured: bool = False
    """Whether steps are captured in a CUDA graph, which launches kernels for free."""

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Take what inputs are made of from the network, such as its vocabulary; by default nothing."""

    @abstractmethod
    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        """Create fresh parameters, one set per problem.

        Args:
            seeds: One seed per problem; a problem's parameters depend on no other seed.
            input_shape: Shape of one input, without the batch.
        """

    def start_from(self, inputs: Tensor) -> None:
        """Move the parameters of :meth:`initialise` to where they give these inputs, each with its own noise.

        By default a prior can't.

        Args:
            inputs: Shape (problems, *input_shape).
        """
        raise NotImplementedError

    def keep(self, rows: Tensor) -> bool:
        """Drop all problems but these, whose optimisation goes on.

        Parameters stay the same objects, with fewer rows in their ``data``.

        Args:
            rows: Indices of active problems, ascending.

        Returns:
            Whether the others were dropped; by default they are not, and finished problems stay in the batch.
        """
        return False

    def lay_out(self, device: torch.device) -> None:
        """Choose the memory layout that suits the device, before the first step; by default nothing.

        Args:
            device: Device of the parameters.
        """

    @abstractmethod
    def forward(self) -> Tensor:
        """Map the parameters to inputs in the extractor's form, shape (problems, ...)."""

    def read_out(self, inputs: Tensor) -> Tensor:
        """Convert the output of :meth:`forward` to the form that is scored and stored; by default the inputs.

        Args:
            inputs: Shape (problems, ...).

        Returns:
            Shape (problems, *input_shape).
        """
        return inputs

    def progress(self) -> dict[str, Any]:
        """Return the state for a checkpoint; by default trainable parameters and buffers.

        A subclass adds anything else that :meth:`initialise` creates and a step changes, such as a random generator.
        """
        learned = [(name, parameter) for name, parameter in self.named_parameters() if parameter.requires_grad]
        return {name: tensor.detach() for name, tensor in (*learned, *self.named_buffers())}

    def resume(self, progress: dict[str, Any]) -> None:
        """Restore the state of :meth:`progress`; called after :meth:`initialise` and :meth:`keep`."""
        for name, tensor in progress.items():
            owner, _, last = name.rpartition(".")
            getattr(self.get_submodule(owner), last).data = tensor

    def penalty(self, recovered: Tensor) -> Tensor:
        """Return the regularisation added to each problem's loss, shape (problems,); by default 0."""
        return recovered.new_zeros(len(recovered))

    def fingerprint(self) -> str:
        """Return a digest of anything beyond the constructor's arguments, such as weights; by default empty."""
        return ""

    def is_dead(self, recovered: Tensor) -> Tensor:
        """Find collapsed problems, which restart from a fresh seed, shape (problems,); by default none."""
        return torch.zeros(len(recovered), dtype=torch.bool, device=recovered.device)
