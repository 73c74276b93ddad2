"""Classification tasks: a classifier along its training, and labelled images that it has not seen."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from experiments.shared.harness import Experiment
from readout.common.errors import ReadoutError
from readout.data import Crops, ImageFolder, InputData, Sample
from readout.extractors import FeatureExtractor, TorchvisionModel

BATCH = 250
"""Images that are classified together."""


class Task(ABC):
    """A classifier, its test images and its training images."""

    @abstractmethod
    def network(self, experiment: Experiment[Any], epochs: int | None = None) -> FeatureExtractor:
        """Return the classifier, whose output is one logit per class, after some epochs of training.

        Args:
            experiment: Has the folders.
            epochs: Number of epochs. Default: all.
        """

    @abstractmethod
    def test(self, experiment: Experiment[Any]) -> Sequence[Sample]:
        """Return labelled images that the classifier is not trained on, in random order."""

    @abstractmethod
    def training_data(self, experiment: Experiment[Any]) -> InputData:
        """Return other images of the same size, to train decoders on."""


class ImageNet(Task):
    """torchvision's VGG19 and a folder of ImageNet's 1,000 classes."""

    def network(self, experiment: Experiment[Any], epochs: int | None = None) -> FeatureExtractor:
        """See :class:`Task`; classes are the folders in alphabetical order.

        Raises:
            ReadoutError: if there are not 1,000 folders, or the weights can't be loaded.
        """
        folder = Path(experiment.image_folder())
        classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
        if len(classes) != 1000:
            raise ReadoutError(f"The images are of {len(classes)} classes; give ImageNet's 1,000, a folder each.")
        network = TorchvisionModel("vgg19")
        network.classes = classes
        return network

    def test(self, experiment: Experiment[Any]) -> Sequence[Sample]:
        """See :class:`Task`."""
        return in_random_order(ImageFolder(experiment.image_folder(), limit=2000))

    def training_data(self, experiment: Experiment[Any]) -> InputData:
        """See :class:`Task`."""
        return Crops(count=20_000, size=224)


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


def in_random_order(data: InputData) -> list[Sample]:
    """Load images in an order that is the same every time."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    return [data[place] for place in order.tolist()]


@torch.no_grad()
def classify(network: FeatureExtractor, samples: Sequence[Sample]) -> Tensor:
    """Return logits, shape (images, classes)."""
    parts = [samples[start : start + BATCH] for start in range(0, len(samples), BATCH)]
    return torch.cat([network.run(torch.stack([sample.input for sample in part])) for part in parts])


def right(network: FeatureExtractor, samples: Sequence[Sample], logits: Tensor | None = None) -> list[bool]:
    """Return whether the network's class is the label, for each image.

    Args:
        network: The classifier.
        samples: Labelled images.
        logits: Those of the images, if they are known.
    """
    assert network.classes is not None
    places = (classify(network, samples) if logits is None else logits).argmax(1).tolist()
    return [network.classes[place] == sample.label for place, sample in zip(places, samples, strict=True)]


def confidence(network: FeatureExtractor, samples: Sequence[Sample]) -> dict[str, float]:
    """Return the largest softmax probability of each image, by name."""
    largest = classify(network, samples).softmax(1).amax(1).tolist()
    return dict(zip([sample.name for sample in samples], largest, strict=True))


def hits_and_misses(samples: Sequence[Sample], is_right: Sequence[bool], count: int) -> list[Sample]:
    """Choose misclassified images and as many correct ones of the same classes, labelled ``miss`` and ``hit``.

    Args:
        samples: Labelled images to choose from, the first ones first.
        is_right: Whether each is classified correctly; see :func:`right`.
        count: Largest number of each kind.
    """
    hits: dict[str | None, list[Sample]] = {}
    misses: list[Sample] = []
    for sample, hit in zip(samples, is_right, strict=True):
        (hits.setdefault(sample.label, []) if hit else misses).append(sample)
    chosen: list[Sample] = []
    for sample in misses:
        same_class = hits.get(sample.label)
        if same_class and len(chosen) < 2 * count:
            chosen += [sample._replace(label="miss"), same_class.pop(0)._replace(label="hit")]
    return chosen
