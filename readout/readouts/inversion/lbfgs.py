"""L-BFGS for batches of independent problems."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from readout.common.checks import check_number, check_whole

NEW, OLD = "gradient", "point"
"""Keys in the state of a parameter: its gradient and value at the last step. Those of a pair are in :func:`_pair`."""

FLAT = 1e-10
"""Least curvature of a pair that is used, sᵀy over yᵀy."""


class BatchedLBFGS(Optimizer):
    """L-BFGS (Nocedal & Wright, 2006, algorithm 7.4) with curvature and step length of its own for every problem.

    The first dimension of every parameter counts problems, which share nothing: a problem moves as it would alone, so
    all run in one batch, where ``torch.optim.LBFGS`` must run one at a time. There is no line search: each step costs
    one evaluation, and is as long as the curvature says, up to a limit. The objective should be smooth. Every tensor of
    the state has its parameter's shape, so that finished problems can leave.

    Args:
        params: Parameters of shape (problems, ...).
        lr: Length of a problem's first step, and limit to all others: a root mean square over its values.
        history: Number of past steps from which curvature is estimated.

    Raises:
        ReadoutError: if a number is out of range.

    Examples:
        >>> x = torch.nn.Parameter(torch.zeros(2, 3))
        >>> optimizer = BatchedLBFGS([x], lr=0.5)
        >>> for _ in range(20):
        ...     optimizer.zero_grad()
        ...     (torch.tensor([1.0, 4.0, 9.0]) * (x - 1) ** 2).sum().backward()
        ...     loss = optimizer.step()
        >>> bool((x - 1).abs().max() < 1e-4)
        True
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.05, history: int = 10) -> None:
        defaults = {"lr": check_number("lr", lr, 0), "history": check_whole("history", history, 1)}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Evaluate once, and move every problem."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step([each for each in group["params"] if each.grad is not None], group["lr"], group["history"])
        return loss

    def _step(self, parameters: list[Tensor], lr: float, history: int) -> None:
        """Move the problems of one group, whose parameters count as one vector per problem."""
        if not parameters:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        count = self.state[parameters[0]].get("step", 0)
        if count:
            moved, bent = _pair((count - 1) % history)
            for each, grad in zip(parameters, gradients, strict=True):
                state = self.state[each]
                state[moved], state[bent] = each - state[OLD], grad - state[NEW]
        gradient = _rows(gradients)
        kept = [index % history for index in range(max(0, count - history), count)]
        pairs = [tuple(_rows([self.state[each][name] for each in parameters]) for name in _pair(at)) for at in kept]
        direction = _direction(gradient, pairs, lr)
        size = direction.square().mean(1, keepdim=True).sqrt().clamp_min(1e-30)
        direction = direction * (lr / size).clamp_max(1)
        parts = torch.split(direction, [each[0].numel() for each in parameters], dim=1)
        for each, grad, part in zip(parameters, gradients, parts, strict=True):
            self.state[each] |= {"step": count + 1, NEW: grad.clone(), OLD: each.clone()}
            each += part.view_as(each)


def _direction(gradient: Tensor, pairs: list[tuple[Tensor, ...]], lr: float) -> Tensor:
    """Return minus the inverse Hessian times the gradient, by the two-loop recursion; shape (problems, values).

    A problem without a usable pair, or whose direction does not descend, follows its gradient for one ``lr``.
    """
    steepest = -gradient * (lr / gradient.square().mean(1, keepdim=True).sqrt().clamp_min(1e-30))
    scale = torch.zeros_like(gradient[:, :1])
    used: list[tuple[Tensor, Tensor, Tensor]] = []
    weights: list[Tensor] = []
    for moved, bent in pairs:
        curvature, square = _dot(moved, bent), _dot(bent, bent)
        usable = curvature > FLAT * square
        scale = torch.where(usable, curvature / square, scale)
        used.append((moved, bent, torch.where(usable, 1 / curvature, 0)))
    direction = -gradient
    for moved, bent, inverse in reversed(used):
        weights.append(inverse * _dot(moved, direction))
        direction = direction - weights[-1] * bent
    direction = scale * direction
    for moved, bent, inverse in used:
        direction = direction + (weights.pop() - inverse * _dot(bent, direction)) * moved
    return torch.where(_dot(direction, gradient) < 0, direction, steepest)


def _pair(index: int) -> tuple[str, str]:
    """Return the keys of a past step: its movement s, and the change y of the gradient."""
    return f"moved.{index}", f"bent.{index}"


def _rows(values: list[Tensor]) -> Tensor:
    return torch.cat([each.flatten(1) for each in values], dim=1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1, keepdim=True)
