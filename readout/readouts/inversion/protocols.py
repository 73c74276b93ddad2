"""Protocols: rules that decide when an inversion stops, and which iterate is scored.

The stopping time is part of the readout π, because a Deep Image Prior first finds the image and then fits the noise.
Every result names its protocol, and sizes under different protocols are different quantities.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from readout.common.checks import check_number


class Protocol(ABC):
    """A stopping rule, applied to each problem independently; the iterate at which it stops is scored."""

    name: ClassVar[str]

    needs_true_input: ClassVar[bool] = False
    """Whether the rule uses the loss at the true input, so that it can't run where that is unknown."""

    @abstractmethod
    def reached(self, loss: Tensor, floor: Tensor) -> Tensor | None:
        """Find the problems that stop at this iterate.

        Args:
            loss: Loss of the current iterate, shape (problems,).
            floor: Loss at the true input, shape (problems,).

        Returns:
            Shape (problems,); None if every problem runs to the last step.
        """


class PaperProtocol(Protocol):
    """The paper's rule: run ``trainer.max_steps`` steps and score the last iterate.

    Examples:
        >>> import torch
        >>> PaperProtocol().reached(loss=torch.tensor([0.0]), floor=torch.tensor([1.0])) is None
        True
    """

    name = "paper"

    def reached(self, loss: Tensor, floor: Tensor) -> Tensor | None:
        """See :class:`Protocol`."""
        return None


class FastProtocol(PaperProtocol):
    """The paper's rule with fewer steps at a higher learning rate, as in ``fast.yaml``.

    Its own name keeps its sizes apart from the paper's. Their agreement was measured for the configuration of
    ``fast.yaml`` only (docs/performance.md).

    Examples:
        >>> FastProtocol().name
        'fast'
    """

    name = "fast"


class DiscrepancyProtocol(Protocol):
    """Stop when the loss first reaches the loss at the true input (Morozov's discrepancy principle).

    That loss is known exactly, because the noise is drawn here. It is 0 at level 0, so the last iterate is scored
    there, as for every problem that never reaches the loss at its true input.

    Args:
        slack: Stop at (1 + slack) times the loss at the true input.

    Raises:
        ReadoutError: if ``slack`` is not a number of at least 0.

    Examples:
        >>> import torch
        >>> DiscrepancyProtocol(slack=0.1).reached(loss=torch.tensor([1.05, 1.2]), floor=torch.tensor([1.0, 1.0]))
        tensor([ True, False])
    """

    name = "discrepancy"
    needs_true_input = True

    def __init__(self, slack: float = 0.0) -> None:
        self.slack = check_number("slack", slack, 0)

    def reached(self, loss: Tensor, floor: Tensor) -> Tensor | None:
        """See :class:`Protocol`."""
        return loss <= floor * (1 + self.slack)


class LastIteration(PaperProtocol):
    """Score the last iteration of an algorithm that is no optimiser of parameters.

    Examples:
        >>> LastIteration().name
        'last_iteration'
    """

    name = "last_iteration"


class TokenByToken(Protocol):
    """Stop after the last position of a text, for readouts that find one token per step.

    Examples:
        >>> TokenByToken().name
        'token_by_token'
    """

    name = "token_by_token"

    def reached(self, loss: Tensor, floor: Tensor) -> Tensor | None:
        """See :class:`Protocol`."""
        return None
