"""Protocols: when an inversion ends, and which iterate counts.

The stopping time is part of the readout π, because a Deep Image Prior first finds the image and then
fits the noise. So a protocol is named in every result, and sizes under different protocols are
different quantities.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from readout.common.checks import check_number


class Protocol(ABC):
    """Decides, problem by problem, at which iterate an inversion has arrived."""

    name: ClassVar[str]

    needs_true_input: ClassVar[bool] = False
    """Whether it looks at the loss of the true input, and so can't run where that is not known."""

    @abstractmethod
    def reached(self, loss: Tensor, floor: Tensor) -> Tensor | None:
        """Which problems have arrived, shape (problems,); None if only the last step ends them.

        Args:
            loss: Loss of the present iterate, shape (problems,).
            floor: Loss of the true input, shape (problems,).
        """


class PaperProtocol(Protocol):
    """The paper's: ``trainer.max_steps`` steps, and the last iterate counts."""

    name = "paper"

    def reached(self, loss: Tensor, floor: Tensor) -> Tensor | None:
        """See :class:`Protocol`."""
        return None


class FastProtocol(PaperProtocol):
    """Fewer steps at a higher learning rate, whose last iterate stands for the paper's.

    The same rule under another name, so that nobody takes its sizes for the paper's: how well they agree is measured
    for the settings of ``fast.yaml`` (docs/performance.md), and for no others.
    """

    name = "fast"


class DiscrepancyProtocol(Protocol):
    """Stop where the loss first reaches the loss at the true input (Morozov's discrepancy principle).

    That level is known exactly here, because the noise is ours. Without noise it is 0, so at level 0
    the last step counts, as it does for every problem that never gets there.

    Args:
        slack: Stop already at (1 + slack) times that level.

    Raises:
        ReadoutError: if ``slack`` is no number of at least 0.
    """

    name = "discrepancy"
    needs_true_input = True

    def __init__(self, slack: float = 0.0) -> None:
        self.slack = check_number("slack", slack, 0)

    def reached(self, loss: Tensor, floor: Tensor) -> Tensor | None:
        """See :class:`Protocol`."""
        return loss <= floor * (1 + self.slack)


class TokenByToken(Protocol):
    """Ends with the last position of a text, for readouts that read one position after another."""

    name = "token_by_token"

    def reached(self, loss: Tensor, floor: Tensor) -> Tensor | None:
        """See :class:`Protocol`."""
        return None
