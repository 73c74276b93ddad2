"""A small network for scikit-learn's digits, trained in seconds where it is first used."""

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from readout.common.checks import check_list, check_number, check_seed, check_whole
from readout.common.errors import ReadoutError
from readout.common.files import user_path, write_whole
from readout.common.seal import UNSEALED, is_damaged
from readout.extractors.base import FeatureExtractor
from readout.extractors.weights import cache_folder, load_state_dict
from readout.problems.identity import digest

SIDE = 8
LAYERS = {"conv1": "0", "conv2": "2", "conv3": "5", "conv4": "7", "dense": "11", "logits": "13"}
BATCH = 32


class DigitNet(FeatureExtractor):
    """A classifier of scikit-learn's handwritten digits: four convolutions and two dense layers.

    Layers are ``conv1`` … ``conv4``, ``dense`` and ``logits``, each before its ReLU. The network is trained when it is
    first made, in seconds; by default it then names 97 % of the other digits. The weights are kept, because they differ
    between machines by rounding, and results depend on them.

    Args:
        images: Number of digits to train on, drawn at random; :class:`readout.data.Digits` leaves them out.
        epochs: Epochs of training; 0 for random weights.
        lr: Learning rate of Adam.
        widths: Channels before and after the first pooling, and of the dense layer.
        seed: Seed of the draw, the initial weights and the order of batches.
        folder: Folder of the weights. Default: the user's cache, or that of ``READOUT_CACHE``.

    Raises:
        ReadoutError: if a number is out of range, or the weights can't be kept.

    Examples:
        >>> network = DigitNet(images=100, epochs=1, folder="runs/weights")
        >>> network.run(torch.rand(2, 1, 8, 8)).shape, network.classes[:3]
        (torch.Size([2, 10]), ('0', '1', '2'))
    """

    def __init__(
        self,
        images: int = 900,
        epochs: int = 20,
        lr: float = 1e-3,
        widths: Sequence[int] = (32, 64, 64),
        seed: int = 0,
        folder: str | Path | None = None,
    ) -> None:
        listed = check_list("widths", widths, "[32, 64, 64]")
        if len(listed) != 3:
            raise ReadoutError(f"widths is {listed}; give three numbers, such as [32, 64, 64].")
        training = _Training(
            check_whole("images", images, 1, len(digit_table()[1]) - 1),
            check_whole("epochs", epochs, 0),
            check_number("lr", lr, above=0),
            tuple(check_whole("A width", width, 1) for width in listed),
            check_seed("seed", seed),
        )
        network = training.build()
        network.load_state_dict(_kept(training, cache_folder() if folder is None else user_path(folder)))
        super().__init__(network, LAYERS, mean=[0.5])
        self.weights = f"{images} digits, {epochs} epochs (seed {seed})"
        self.classes = tuple("0123456789")
        self.trained_on = training.digits()
        """Indices of the training digits in scikit-learn's table."""

    def example(self, size: int) -> Tensor:
        """Return one blank image of 8 × 8 pixels, whatever the ``size``."""
        return torch.zeros(1, 1, SIDE, SIDE)


@cache
def digit_table() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's digits, values in [0, 1], shape (1797, 1, 8, 8), and their classes, shape (1797,)."""
    from sklearn.datasets import load_digits

    table = load_digits()
    return torch.from_numpy(table.images).float().div(16).unsqueeze(1), torch.from_numpy(table.target).long()


class _Training(NamedTuple):
    """Training of the network; see :class:`DigitNet`."""

    images: int
    epochs: int
    lr: float
    widths: tuple[int, ...]
    seed: int

    def digits(self) -> list[int]:
        """Return the indices of the training digits."""
        count = len(digit_table()[1])
        return torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))[: self.images].tolist()

    def build(self) -> nn.Sequential:
        """Build the network with random weights."""
        a, b, c = self.widths
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return nn.Sequential(
                *(nn.Conv2d(1, a, 3, padding=1), nn.ReLU()),
                *(nn.Conv2d(a, a, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(a, b, 3, padding=1), nn.ReLU()),
                *(nn.Conv2d(b, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Flatten(), nn.Linear(b * (SIDE // 4) ** 2, c), nn.ReLU(), nn.Linear(c, 10)),
            )

    @torch.enable_grad()
    def run(self) -> dict[str, Tensor]:
        """Train the network with Adam on the cross-entropy; return its weights."""
        network = self.build()
        images, labels = (values[self.digits()] for values in digit_table())
        optimizer = torch.optim.Adam(network.parameters(), lr=self.lr)
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epochs):
            for batch in torch.split(torch.randperm(len(images), generator=generator), BATCH):
                optimizer.zero_grad()
                F.cross_entropy(network(images[batch] - 0.5), labels[batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return network.state_dict()


def _kept(training: _Training, folder: Path) -> Mapping[str, Tensor]:
    """Return the weights that the folder holds, after training them if it holds none."""
    path = folder / f"digits-{digest(training._asdict())[:16]}.safetensors"
    damaged = path.exists() and is_damaged(path)
    if damaged:
        print(f"{path} is damaged; training again.", file=sys.stderr)
    if damaged or not path.exists():
        sealed = {"seal": UNSEALED}
        write_whole(path, lambda file: file.write_bytes(save(training.run(), metadata=sealed)))
    return load_state_dict(path)
