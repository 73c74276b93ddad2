"""Labelled digits, and small networks that have learned few of them and make mistakes.

Images keep the digits' 8 × 8 pixels and one grey channel, so that no pixel is interpolated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from experiments.shared.harness import Experiment
from experiments.shared.task import Task
from readout.data import Digits, Sample
from readout.extractors import DigitNet


@dataclass(frozen=True)
class DigitTask(Task):
    """scikit-learn's digits and a :class:`readout.extractors.DigitNet`."""

    images: int
    """Number of training images, few enough for the network to misclassify others often."""
    epochs: int
    lr: float = 1e-3
    widths: tuple[int, int, int] = (32, 64, 64)

    def network(self, experiment: Experiment[Any], epochs: int | None = None) -> DigitNet:
        """See :class:`Task`; weights are kept in the output folder."""
        epochs = self.epochs if epochs is None else epochs
        return DigitNet(self.images, epochs, self.lr, self.widths, folder=experiment.folder)

    def test(self, experiment: Experiment[Any]) -> Sequence[Sample]:
        """See :class:`Task`."""
        return list(Digits().split(self.images)[1])

    def training_data(self, experiment: Experiment[Any]) -> Digits:
        """See :class:`Task`."""
        return Digits().split(self.images)[0]


SMOKE = DigitTask(images=200, epochs=12, lr=3e-3, widths=(8, 16, 16))
"""Trained in a third of a second; right more often than not."""

TRAINED = DigitTask(images=300, epochs=40)
