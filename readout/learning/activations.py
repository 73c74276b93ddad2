"""Features of a layer as rows, in a memory-mapped file."""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.lib.format import open_memmap
from torch import Tensor

from readout.codes.layer_coder import as_rows
from readout.common.checks import check_layer_names, check_number, check_seed, check_whole
from readout.common.errors import ReadoutError
from readout.common.files import write_whole
from readout.common.lazy import LazyMapping
from readout.data import InputData, Samples, load_samples
from readout.extractors import FeatureExtractor, LanguageModel
from readout.problems.identity import derive_seed, digest

FOLDER = "activations"
"""Folder of features in an output folder."""

MEASURED = 65_536
"""Most rows that mean and scale are measured on."""

BATCH = 16
"""Inputs per run of the network."""


@dataclass(frozen=True)
class Rows:
    """Features of positions: those to learn from, and those of other inputs."""

    key: str
    """Digest of everything that decides them."""
    training: np.ndarray
    """Shape (rows, M), memory-mapped."""
    held_out: np.ndarray
    """Shape (rows, M), memory-mapped."""
    mean: Tensor
    """Shape (M,)."""
    scale: float
    """Square root of the mean squared distance per dimension from the mean."""

    def standardised(self, rows: np.ndarray, places: Tensor | slice) -> Tensor:
        """Return some rows, minus the mean and divided by the scale, shape (places, M)."""
        own = np.sort(places.numpy()) if isinstance(places, Tensor) else places  # in the order of the file
        return (torch.from_numpy(np.array(rows[own])) - self.mean) / self.scale


class Activations(LightningDataModule):
    """Features at one layer of a network, one row per position of a feature map or text, or one per input.

    Args:
        extractor: The network.
        layer: Layer name, or several, or ``all`` or ``depth:…``, at each of which a dictionary is to be learnt.
        inputs: What it sees.
        rows: Most rows; of each input, equally many positions are drawn.
        held_out: Share of the inputs whose rows are kept from learning.
        standardise: Whether the mean is subtracted and the scale divided by; ``"scale"`` only divides, for sums of
            atoms that are known to have no offset.
        seed: Seed of split, positions and order.

    Raises:
        ReadoutError: if there is no such layer, or a number is out of range.
    """

    unseen: Mapping[str, Tensor]
    """Inputs that are held out, by name, after :meth:`load`."""

    def __init__(
        self,
        extractor: FeatureExtractor,
        layer: str | Sequence[str],
        inputs: InputData,
        rows: int = 200_000,
        held_out: float = 0.1,
        standardise: Literal["scale"] | bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.layers = extractor.resolve(check_layer_names("data.layer", layer))
        if standardise not in (True, "scale", False):
            raise ReadoutError(f"data.standardise is {standardise!r}; give true, false or scale.")
        self.extractor, self.inputs, self.standardise = extractor, inputs, standardise
        self.rows = check_whole("data.rows", rows, 2)
        self.held_out = check_number("data.held_out", held_out, above=0, below=1)
        self.seed = check_seed("data.seed", seed)

    @property
    def layer(self) -> str:
        """The layer, if there is one.

        Raises:
            ReadoutError: if there are several.
        """
        if len(self.layers) > 1:
            raise ReadoutError(f"data.layer names {len(self.layers)} layers; give one here.")
        return self.layers[0]

    def at(self, layer: str) -> "Activations":
        """Return the same for one of the layers."""
        one = copy.copy(self)
        one.layers = [layer]
        return one

    def load(self, folder: Path, device: torch.device) -> Rows:
        """Compute the features, unless the folder keeps them.

        Args:
            folder: Output folder.
            device: Where the network runs.

        Raises:
            ReadoutError: if there are fewer than two inputs, or a feature has values that are not finite.
        """
        samples = load_samples(self.inputs, self.extractor)
        unseen = int(np.ceil(self.held_out * len(samples)))
        if len(samples) - unseen < 1:
            raise ReadoutError("data.inputs has one input, and some are kept from learning; give at least two.")
        generator = torch.Generator().manual_seed(derive_seed("split", self.seed))
        order = torch.randperm(len(samples), generator=generator).tolist()
        names = list(samples)
        chosen = [names[place] for place in order]
        self.unseen = LazyMapping(chosen[len(chosen) - unseen :], lambda name: samples[name].input)
        digests = [samples.metadata[name].digest for name in chosen]
        key = digest([self.extractor.fingerprint(), self.layer, digests, self.rows, self.seed])[:32]
        stored = self._stored(folder / FOLDER / f"{key}.npy", samples, chosen, device)
        each = len(stored) // len(chosen)
        cut = len(stored) - unseen * each
        return self._rows(digest([key, self.held_out, self.standardise])[:32], stored[:cut], stored[cut:])

    def _stored(self, path: Path, samples: Samples, names: Sequence[str], device: torch.device) -> np.ndarray:
        """Return the rows of a file; it is written if it is missing, or can't be read."""
        with suppress(OSError, ValueError):
            kept: np.ndarray = np.load(path, mmap_mode="r")
            return kept
        write_whole(path, lambda file: self._write(samples, names, file, device))
        written: np.ndarray = np.load(path, mmap_mode="r")
        return written

    def _rows(self, key: str, training: np.ndarray, held_out: np.ndarray) -> Rows:
        spread = np.linspace(0, len(training) - 1, min(len(training), MEASURED)).astype(int)
        measured = torch.from_numpy(np.array(training[spread]))
        if not measured.isfinite().all():
            raise ReadoutError(
                f"Features at layer {self.layer!r} have values that are not finite; check network and inputs."
            )
        if not measured.std(0).any():
            raise ReadoutError(f"Features at layer {self.layer!r} are constant; choose another layer.")
        mean = measured.mean(0) if self.standardise is True else torch.zeros(measured.shape[1])
        scale = float((measured - mean).square().mean().sqrt())
        return Rows(key, training, held_out, mean, scale if self.standardise else 1.0)

    def _write(self, samples: Samples, names: Sequence[str], path: Path, device: torch.device) -> None:
        """Write the rows of inputs, in their order."""
        blocks = self._blocks(samples, names, device)
        first = next(blocks)
        mapped = open_memmap(path, mode="w+", dtype=np.float32, shape=(len(first) * len(names), first.shape[1]))
        for place, block in enumerate(itertools.chain([first], blocks)):
            mapped[place * len(first) : (place + 1) * len(first)] = block
        mapped.flush()

    @torch.no_grad()
    def _blocks(self, samples: Samples, names: Sequence[str], device: torch.device) -> Iterator[Tensor]:
        """Yield the chosen rows of each input, shape (positions, M)."""
        self.extractor.to(device).lay_out(device)
        embed = self.extractor.embed if isinstance(self.extractor, LanguageModel) else None
        most, shortest = self.rows // len(names), min(like.shape[-1] for like in samples.shapes.values())
        together = 1 if embed else BATCH  # texts differ in length
        for start in range(0, len(names), together):
            block = samples.stack(names[start : start + together]).to(device)
            embedded = embed(block) if embed else block
            for place, feature in enumerate(self.extractor.extract(embedded, self.layer)):
                rows = as_rows(feature.unsqueeze(0)).float().cpu()
                count = max(1, min(most, shortest if embed else len(rows)))
                generator = torch.Generator().manual_seed(derive_seed("positions", self.seed, start + place))
                yield rows[torch.randperm(len(rows), generator=generator)[:count].sort().values]
