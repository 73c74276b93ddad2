"""A residual network for images of 32 × 32 pixels in a few classes, such as CIFAR-10, trained where it is first used.

    python -m experiments.shared.cifar --folder CIFAR10 --output runs/cifar

trains it on CIFAR10/train/CLASS/*.png, keeps its weights along training, and prints the accuracy of each on
CIFAR10/test/CLASS/*.png.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR

from experiments.shared.harness import Experiment
from experiments.shared.task import Task, in_random_order, right
from readout.common.files import write_whole
from readout.data import ImageFolder, Sample
from readout.extractors import FeatureExtractor
from readout.extractors.weights import cache_folder
from readout.problems.identity import digest
from readout.store import save_file

SIDE = 32
PADDING = 4
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
LAYERS = {
    "conv1": "0.1",
    "conv2": "1.2",
    "block2": "2",
    "conv3": "3.2",
    "conv4": "4.2",
    "block4": "5",
    "logits": "8",
}
"""Cuts of the network: convolutions after their batch norm and before their ReLU, residual blocks, and logits."""


@dataclass(frozen=True)
class Training:
    """Training of the network: SGD with Nesterov momentum and one cycle, on random crops and mirror images."""

    epochs: int = 12
    kept: tuple[int, ...] = (0, 1, 2, 4, 12)
    """Epochs after which weights are kept; 0 is the random network."""
    width: int = 16
    """Channels of the first convolution."""
    batch: int = 256
    lr: float = 0.25
    """Largest learning rate, after a quarter of the training."""
    weight_decay: float = 5e-4
    smoothing: float = 0.1
    """Share of every label that goes to all classes alike."""
    bfloat16: bool = True
    """Whether products are in bfloat16: three times faster on CPUs with AMX, slower on those without."""
    seed: int = 0


@dataclass(frozen=True)
class CifarTask(Task):
    """CIFAR-10, or another folder of its layout, and a :class:`CifarNet`, whose weights are kept in the cache."""

    training: Training = Training()

    def network(self, experiment: Experiment[Any], epochs: int | None = None) -> "CifarNet":
        """See :class:`Task`."""
        return CifarNet(Path(experiment.image_folder()), None, self.training, epochs)

    def test(self, experiment: Experiment[Any]) -> Sequence[Sample]:
        """See :class:`Task`."""
        return in_random_order(ImageFolder(f"{experiment.image_folder()}/test", SIDE))

    def training_data(self, experiment: Experiment[Any]) -> ImageFolder:
        """See :class:`Task`."""
        return ImageFolder(f"{experiment.image_folder()}/train", SIDE, limit=5000)


class CifarNet(FeatureExtractor):
    """A residual network of seven convolutions and one dense layer.

    Args:
        images: Folder with the training images in ``train/CLASS``.
        folder: Folder of trained weights; they are kept, because machines round differently. Default: the user's cache,
            or that of ``READOUT_CACHE``.
        training: Training of the network.
        epoch: Number of epochs after which weights are taken, one of ``training.kept``. Default: the last.
    """

    channels_last = True
    capturable = True

    def __init__(
        self, images: Path, folder: Path | None = None, training: Training | None = None, epoch: int | None = None
    ) -> None:
        training = training or Training()
        epoch = training.epochs if epoch is None else epoch
        data = ImageFolder(str(images / "train"), SIDE)
        classes = classes_of(data)
        network = _build(training, len(classes))
        network.load_state_dict(_weights(training, data, classes, folder or cache_folder())[epoch])
        super().__init__(network, LAYERS, MEAN, STD)
        self.weights = f"epoch {epoch}"
        self.classes = classes

    def example(self, size: int) -> Tensor:
        """Return one blank image of 32 × 32 pixels, whatever the ``size``."""
        return torch.zeros(1, 3, SIDE, SIDE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the network and print its accuracy along training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder with train/CLASS and test/CLASS")
    parser.add_argument("--output", type=Path, help="folder of the weights (default: readout's cache)")
    parser.add_argument("--epochs", type=int, default=Training.epochs, help="epochs of training")
    parsed = parser.parse_args(arguments)
    epochs = parsed.epochs
    training = Training(epochs, tuple(sorted({*(epoch for epoch in Training.kept if epoch < epochs), epochs})))
    test = list(ImageFolder(str(parsed.folder / "test"), SIDE))
    for epoch in training.kept:
        is_right = right(CifarNet(parsed.folder, parsed.output, training, epoch), test)
        share = sum(is_right) / len(is_right)
        print(f"after {epoch} epochs: {100 * share:.1f} % of the test images right", flush=True)


def classes_of(data: ImageFolder) -> list[str]:
    """Return the labels of the images in alphabetical order."""
    return sorted({path.parent.name for path in data.files})


def load(data: ImageFolder, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Load all images as bytes, shape (images, 3, 32, 32), and the places of their labels among the classes."""
    samples = [(sample.input.mul(255).round().byte(), classes.index(str(sample.label))) for sample in data]
    return torch.stack([image for image, _ in samples]), torch.tensor([label for _, label in samples])


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def _convolution(channels: int, outputs: int, pool: bool = False) -> nn.Sequential:
    pooling = [nn.MaxPool2d(2)] if pool else []
    convolution = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, *pooling, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def _build(training: Training, classes: int) -> nn.Sequential:
    a, b, c, d = (training.width * factor for factor in (1, 2, 4, 8))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        return nn.Sequential(
            _convolution(3, a),
            *(_convolution(a, b, pool=True), _Residual(b)),
            _convolution(b, c, pool=True),
            *(_convolution(c, d, pool=True), _Residual(d)),
            *(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(d, classes)),
        )


def _weights(
    training: Training, data: ImageFolder, classes: Sequence[str], folder: Path
) -> Mapping[int, Mapping[str, Tensor]]:
    """Return the weights after each kept epoch, trained once."""
    files = [f"{path.parent.name}/{path.name}" for path in data.files]
    path = folder / f"cifar-{digest([asdict(training), files])[:16]}.safetensors"
    if not path.exists():
        weights = _train(training, *load(data, classes), len(classes))
        write_whole(path, lambda file: save_file(weights, file))
    epochs: dict[int, dict[str, Tensor]] = {}
    for name, value in load_file(path).items():
        epoch, _, key = name.partition("/")
        epochs.setdefault(int(epoch), {})[key] = value
    return epochs


@torch.enable_grad()
def _train(training: Training, images: Tensor, labels: Tensor, classes: int) -> dict[str, Tensor]:
    network = _build(training, classes).to(memory_format=torch.channels_last)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    optimizer = torch.optim.SGD(
        network.parameters(), training.lr, momentum=0.9, weight_decay=training.weight_decay, nesterov=True
    )
    steps = training.epochs * -(-len(images) // training.batch)
    schedule = OneCycleLR(optimizer, training.lr, max(1, steps), pct_start=0.25, cycle_momentum=False)
    generator = torch.Generator().manual_seed(training.seed)
    kept: dict[str, Tensor] = {}
    for epoch in range(training.epochs + 1):
        order = torch.randperm(len(images), generator=generator)
        for rows in torch.split(order, training.batch) if epoch else ():
            x = (_crops(images[rows], generator) - mean) / std
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=training.bfloat16):
                logits = network(x)
            loss = F.cross_entropy(logits.float(), labels[rows], label_smoothing=training.smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        if epoch in training.kept:
            kept |= {f"{epoch}/{key}": value.clone().contiguous() for key, value in network.state_dict().items()}
    return kept


def _crops(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each image by up to four pixels, mirroring its edges, and mirror every other one, at random."""
    padded = F.pad(images.float() / 255, (PADDING,) * 4, mode="reflect")
    top, left = (torch.randint(2 * PADDING + 1, (len(images), 1), generator=generator) for _ in range(2))
    mirrored = torch.randint(2, (len(images), 1), generator=generator).bool()
    rows, columns = top + torch.arange(SIDE), left + torch.arange(SIDE)
    columns = torch.where(mirrored, columns.flip(1), columns)
    places = torch.arange(len(images)).view(-1, 1, 1)
    return padded[places, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)  # channels last in memory


if __name__ == "__main__":
    main()
