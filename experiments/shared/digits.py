"""Labelled digits, and small networks that have learned few of them and make mistakes.

Images keep the digits' 8 × 8 pixels and one grey channel, so that no pixel is interpolated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor

from experiments.shared.harness import Experiment, Readout
from readout.data import Digits, InputData, Sample
from readout.extractors import DigitNet, FeatureExtractor
from readout.readouts import FeatureInversion


@dataclass(frozen=True)
class Training:
    """Training of the network; see :class:`readout.extractors.DigitNet`."""

    images: int
    """Number of training images, few enough for the network to misclassify others often."""
    epochs: int
    lr: float = 1e-3
    widths: tuple[int, int, int] = (32, 64, 64)

    def network(self, folder: Path, epochs: int | None = None) -> DigitNet:
        """Return the network after some epochs, all by default, with weights kept in ``folder``."""
        epochs = self.epochs if epochs is None else epochs
        return DigitNet(self.images, epochs, self.lr, self.widths, folder=folder)

    def test(self) -> Digits:
        """Return the digits that the network is not trained on, in random order."""
        return Digits().split(self.images)[1]


SMOKE = Training(images=200, epochs=12, lr=3e-3, widths=(8, 16, 16))
"""Trained in a third of a second; right more often than not."""

TRAINED = Training(images=300, epochs=40)


@torch.no_grad()
def classify(network: DigitNet, images: Tensor) -> Tensor:
    """Return logits, shape (images, 10)."""
    logits: Tensor = network.run(images)
    return logits


class Scale(Protocol):
    """Parameters of inversions in the scale of an experiment on digits."""

    @property
    def layers(self) -> str | tuple[str, ...]:
        """Layers to invert."""

    @property
    def levels(self) -> tuple[float, ...]:
        """Perturbation levels."""

    @property
    def draws(self) -> int:
        """Noise draws per level."""

    @property
    def readout(self) -> Readout:
        """Prior and optimisation."""

    @property
    def batch_size(self) -> int | None:
        """Inversions per batch; None for as many as fit."""


class Images(InputData):
    """Images in memory.

    Args:
        samples: Samples with name, image and label.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        super().__init__()
        self.samples = list(samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def invert(
    experiment: Experiment[Any], scale: Scale, name: str, network: FeatureExtractor, samples: Sequence[Sample]
) -> pd.DataFrame:
    """Run or resume a sweep over labelled images.

    Args:
        experiment: The experiment.
        scale: Parameters of the inversions.
        name: Sub-folder of the sweep.
        network: The frozen network.
        samples: The images.

    Returns:
        Results of :meth:`Experiment.sweep`.
    """
    steps = scale.readout.steps
    return experiment.sweep(
        name,
        scale.readout.inversion(network, FeatureInversion, record_every=max(1, steps // 10)),
        Images(samples),
        steps=steps,
        layers=scale.layers,
        levels=scale.levels,
        draws=scale.draws,
        batch_size=scale.batch_size or "auto",
    )


def accuracy(network: DigitNet, digits: Digits) -> float:
    """Return the share of digits that the network classifies correctly."""
    return float((classify(network, digits.images()).argmax(1) == digits.labels()).float().mean())


def hits_and_misses(network: DigitNet, digits: Digits, count: int) -> list[Sample]:
    """Choose misclassified digits and as many correct ones of the same classes, labelled ``miss`` and ``hit``.

    Args:
        network: The classifier.
        digits: Digits to choose from.
        count: Largest number of each kind.
    """
    hit = classify(network, digits.images()).argmax(1) == digits.labels()
    free: dict[str | None, list[Sample]] = {}
    for place in hit.nonzero().flatten().tolist():
        free.setdefault(digits[place].label, []).append(digits[place]._replace(label="hit"))
    chosen: list[Sample] = []
    for place in (~hit).nonzero().flatten().tolist():
        same_class = free.get(digits[place].label)
        if same_class and len(chosen) < 2 * count:
            chosen += [digits[place]._replace(label="miss"), same_class.pop(0)]
    return chosen
