"""The loss and gradients of one optimisation step, on a GPU optionally as one CUDA graph."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Step(NamedTuple):
    """Values computed by one step."""

    inputs: Tensor
    """Current iterates, shape (problems, ...)."""
    feature: Tensor
    losses: Tensor
    """Loss of each problem, shape (problems,)."""
    total: Tensor
    """Minimised scalar, with gradients to the prior's parameters."""


class StepGraph:
    """A step with its gradients, captured once as a CUDA graph and replayed.

    In small batches, launching a step's kernels from Python takes longer than running them. A replay runs the same
    kernels, so values are the same. It also reuses the same memory: copy any tensor to be kept beyond the step.

    Generators have been captured and replayed on a GPU (docs/benchmarks.md), whole steps not yet, so this is off by
    default.

    Args:
        step: Function that computes a step without waiting for the device.
        parameters: Parameters of the step, which must not move in memory.
    """

    def __init__(self, step: Callable[[], Step], parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        cached = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(False)  # casts cached in the graph's memory would be used outside of it
        try:
            self._capture(step)
        finally:
            torch.set_autocast_cache_enabled(cached)

    def __call__(self) -> Step:
        """Replay the step; ``backward`` from its total returns the captured gradients."""
        return self.captured._replace(total=_Replayed.apply(self, *self.parameters))

    def replay(self) -> None:
        """Recompute :attr:`captured` and :attr:`gradients` in place."""
        self._graph.replay()

    def _capture(self, step: Callable[[], Step]) -> None:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # warm-up: libraries choose kernels and Triton compiles, which a capture forbids
                self._solve(step)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self.captured, self.gradients = self._solve(step)

    def _solve(self, step: Callable[[], Step]) -> tuple[Step, tuple[Tensor | None, ...]]:
        computed = step()
        gradients = torch.autograd.grad(computed.total, self.parameters, allow_unused=True)
        return Step(*(value.detach() for value in computed)), gradients


class _Replayed(torch.autograd.Function):
    """Total of a replayed step, with its captured gradients."""

    @staticmethod
    def forward(ctx: Any, graph: StepGraph, *parameters: Tensor) -> Tensor:
        graph.replay()
        ctx.graph = graph
        return graph.captured.total.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        # copies: the next replay overwrites these
        return None, *(None if gradient is None else gradient * upstream for gradient in ctx.graph.gradients)
