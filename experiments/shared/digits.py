"""Labelled digits, and a small network that learns them in seconds and makes mistakes.

Images keep the digits' 8 × 8 pixels and one grey channel, so that no pixel is interpolated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from experiments.shared.harness import Experiment, Readout
from readout.data import Digits, InputData, Sample
from readout.extractors import FeatureExtractor
from readout.problems.identity import digest
from readout.readouts import FeatureInversion

SIDE = 8
LAYERS = {"conv1": "0", "conv2": "2", "conv3": "5", "conv4": "7", "dense": "11", "logits": "13"}
"""Layers, each before its ReLU."""


@dataclass(frozen=True)
class Training:
    """Training of the network: Adam, cross-entropy, batches of 32."""

    images: int
    """Number of training images, few enough for the network to misclassify others often."""
    epochs: int
    lr: float = 1e-3
    widths: tuple[int, int, int] = (32, 64, 64)
    """Channels before and after the first pooling, and of the dense layer."""
    seed: int = 0

    def data(self) -> tuple[Digits, Digits]:
        """Return training and test digits."""
        return Digits().split(self.images, self.seed)


SMOKE = Training(images=200, epochs=12, lr=3e-3, widths=(8, 16, 16))
"""Trained in a third of a second; right more often than not."""

TRAINED = Training(images=300, epochs=40)


class DigitNet(FeatureExtractor):
    """A network of four convolutions and two dense layers for digits of 8 × 8 pixels.

    Args:
        training: Training of the network.
        epoch: Number of epochs after which weights are taken; 0 is the random network.
        folder: Folder of trained weights.
    """

    def __init__(self, training: Training, epoch: int, folder: Path) -> None:
        network = _build(training)
        network.load_state_dict(_weights(training, folder)[epoch])
        super().__init__(network, layers=LAYERS, mean=[0.5])
        self.weights = f"epoch {epoch}"

    def example(self, size: int) -> Tensor:
        """Return an example input; ``size`` is ignored, because all inputs have one size."""
        return torch.zeros(1, 1, SIDE, SIDE)

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """Return logits, shape (images, 10)."""
        return self.extract(images, "logits")


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
    return float((network.classify(digits.images()).argmax(1) == digits.labels()).float().mean())


def hits_and_misses(network: DigitNet, digits: Digits, count: int) -> list[Sample]:
    """Choose misclassified digits and as many correct ones of the same classes, labelled ``miss`` and ``hit``.

    Args:
        network: The classifier.
        digits: Digits to choose from.
        count: Largest number of each kind.
    """
    hit = network.classify(digits.images()).argmax(1) == digits.labels()
    free: dict[str | None, list[Sample]] = {}
    for place in hit.nonzero().flatten().tolist():
        free.setdefault(digits[place].label, []).append(digits[place]._replace(label="hit"))
    chosen: list[Sample] = []
    for place in (~hit).nonzero().flatten().tolist():
        same_class = free.get(digits[place].label)
        if same_class and len(chosen) < 2 * count:
            chosen += [digits[place]._replace(label="miss"), same_class.pop(0)]
    return chosen


def _build(training: Training) -> nn.Sequential:
    a, b, c = training.widths
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        return nn.Sequential(
            *(nn.Conv2d(1, a, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(a, a, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(a, b, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(b, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(b * (SIDE // 4) ** 2, c), nn.ReLU(), nn.Linear(c, 10)),
        )


def _weights(training: Training, folder: Path) -> Mapping[int, Mapping[str, Tensor]]:
    """Return the weights after every epoch, trained once and kept, because machines round differently."""
    path = folder / f"network-{digest(asdict(training))[:12]}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".partial")
        save_file(_train(training), unfinished)
        unfinished.replace(path)
    epochs: dict[int, dict[str, Tensor]] = {}
    for name, value in load_file(path).items():
        epoch, _, key = name.partition("/")
        epochs.setdefault(int(epoch), {})[key] = value
    return epochs


def _train(training: Training) -> dict[str, Tensor]:
    network = _build(training)
    digits = training.data()[0]
    images, labels = digits.images() - 0.5, digits.labels()
    optimizer = torch.optim.Adam(network.parameters(), lr=training.lr)
    generator = torch.Generator().manual_seed(training.seed)
    kept: dict[str, Tensor] = {}
    for epoch in range(training.epochs + 1):
        if epoch:
            for batch in torch.split(torch.randperm(len(images), generator=generator), 32):
                optimizer.zero_grad()
                F.cross_entropy(network(images[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        kept |= {f"{epoch}/{key}": value.clone() for key, value in network.state_dict().items()}
    return kept
