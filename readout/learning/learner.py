"""The base class of dictionary learners."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from readout.codes import Coder, Dictionary
from readout.common.checks import check_seed
from readout.decoders import Training
from readout.learning.activations import Rows
from readout.problems.identity import derive_seed, describe


class DictionaryLearner(Training):
    """The fit of a dictionary's unit atoms to rows of features.

    :func:`readout.learning.learn.learn` gives it rows and a number of steps, and runs it in ``Trainer.fit``. A subclass
    implements :meth:`begin`, ``training_step`` and :meth:`learnt`.

    Args:
        seed: Seed of everything random.

    Raises:
        ReadoutError: if ``seed`` is out of range.
    """

    rows: Rows

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = check_seed("model.seed", seed)

    @abstractmethod
    def begin(self, rows: Rows, steps: int) -> None:
        """Take the features, and create the first atoms.

        Args:
            rows: The features.
            steps: Number of training steps.
        """

    @property
    def steps_taken(self) -> int:
        """Number of steps taken."""
        return self.global_step

    def describe(self) -> dict[str, Any]:
        """Return everything that decides what is learnt from given rows, as plain data."""
        described: dict[str, Any] = describe(self, skip=("dictionary",))
        return described

    @abstractmethod
    def learnt(self) -> Dictionary:
        """Return the dictionary so far, on the CPU."""

    @abstractmethod
    def coder(self) -> Coder:
        """Return the coder that infers codes as they were inferred while learning."""

    def weights(self) -> dict[str, Tensor]:
        """See :class:`Training`."""
        return dict(self.learnt().state_dict())

    def _generator(self, *of: str | int) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed("dictionary", self.seed, *of))
