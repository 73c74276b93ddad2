"""One optimisation step of a batch, before its update; on a GPU as one graph."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Step(NamedTuple):
    """What a step computes."""

    inputs: Tensor
    """The present iterates, shape (problems, ...)."""
    feature: Tensor
    losses: Tensor
    """Of each problem, shape (problems,)."""
    total: Tensor
    """What is minimised; its gradients reach the prior's parameters."""


class StepGraph:
    """A step with its gradients, captured once and replayed as a whole (a CUDA graph).

    Launching a step's kernels from Python takes longer than running them, unless batches are large. What is
    replayed is what was launched, so the values are the same. The tensors of a replayed step lie where those of
    the last one lay; copy what is to be kept.

    Generators have been captured and replayed on a GPU (docs/benchmarks.md), whole steps not yet: so it has to be
    asked for.

    Args:
        step: Computes a step, and never waits for the device.
        parameters: What it depends on. They must stay where they are in memory.
    """

    def __init__(self, step: Callable[[], Step], parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        cached = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(False)  # its weights would belong to the graph, and be used outside
        try:
            self._capture(step)
        finally:
            torch.set_autocast_cache_enabled(cached)

    def __call__(self) -> Step:
        """One step; backward from its total gives what was captured."""
        return self.captured._replace(total=_Replayed.apply(self, *self.parameters))

    def replay(self) -> None:
        """Compute :attr:`captured` and :attr:`gradients` anew."""
        self._graph.replay()

    def _capture(self, step: Callable[[], Step]) -> None:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):  # libraries choose their kernels, and Triton compiles, at the first
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
    """The total of a replayed step, whose gradients are there already."""

    @staticmethod
    def forward(ctx: Any, graph: StepGraph, *parameters: Tensor) -> Tensor:
        graph.replay()
        ctx.graph = graph
        return graph.captured.total.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        # copies: the next replay overwrites these
        return None, *(None if gradient is None else gradient * upstream for gradient in ctx.graph.gradients)
