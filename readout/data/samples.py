"""Samples: the checked inputs of a sweep, each loaded when it is needed."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import Self

from readout.common.errors import ReadoutError
from readout.common.lazy import LazyMapping
from readout.data.base import InputData, Sample
from readout.data.images import ROUNDING, is_image
from readout.extractors import FeatureExtractor
from readout.problems.identity import tensor_digest

MEMORY = 2**30
"""Bytes of inputs that stay in memory: 1,783 images of 224 × 224 pixels."""


class Metadata(NamedTuple):
    """Properties of an input that need no loading."""

    label: str | None
    """Class of the input, if known."""
    like: Tensor
    """Tensor of the input's shape and type without values, on PyTorch's device ``meta``."""
    digest: str
    """Digest of the input's type, shape and values; see :func:`readout.data.samples.values_digest`."""


class Samples(Mapping[str, Sample]):
    """Samples by name; those that don't fit in :data:`MEMORY` are loaded again each time they are asked for.

    Whoever is sent to other processes must not keep it, because the data, and inputs in memory, would go along.

    Args:
        load: Loads the sample at an index.
        memory: Bytes of inputs that stay in memory.
    """

    def __init__(self, load: Callable[[int], Sample], memory: float) -> None:
        self.metadata: dict[str, Metadata] = {}
        """By name, in order."""
        self._load, self._free = load, memory
        self._indices: dict[str, int] = {}
        self._kept: dict[str, Sample] = {}

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Self:
        """Wrap samples that are in memory."""
        listed = list(samples)
        found = cls(listed.__getitem__, float("inf"))
        for sample in listed:
            found.add(sample)
        return found

    def add(self, sample: Sample) -> None:
        """Add the sample that was loaded from the next index."""
        self._indices[sample.name] = len(self._indices)
        self.metadata[sample.name] = Metadata(sample.label, sample.input.to("meta"), values_digest(sample.input))
        # the first that fit stay: a sweep passes over all inputs once per layer, in order, so that dropping the one
        # unused for longest would drop each input just before it is needed
        if sample.input.nbytes <= self._free:
            self._free -= sample.input.nbytes
            self._kept[sample.name] = sample

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """The inputs by name, loaded like the samples."""
        return LazyMapping(self.metadata, lambda name: self[name].input)

    @property
    def shapes(self) -> Mapping[str, Tensor]:
        """The inputs by name as tensors without values; see :attr:`Metadata.like`."""
        return {name: metadata.like for name, metadata in self.metadata.items()}

    def stack(self, names: Collection[str]) -> Tensor:
        """Copy inputs of one shape into one tensor, shape (names, *input_shape)."""
        like = self.metadata[next(iter(names))].like
        stacked = torch.empty(len(names), *like.shape, dtype=like.dtype)
        for row, name in zip(stacked, names, strict=True):
            row.copy_(self[name].input)
        return stacked

    def __getitem__(self, name: str) -> Sample:
        """Return a sample.

        Raises:
            KeyError: if there is none of this name.
            ReadoutError: if it can't be loaded, or has changed since it was checked.
        """
        if name in self._kept:
            return self._kept[name]
        sample = self._load(self._indices[name])
        if sample.name != name or values_digest(sample.input) != self.metadata[name].digest:
            raise ReadoutError(
                f"Input {name!r} has changed since the run began; run the same command again, and keep the inputs as "
                "they are meanwhile."
            )
        return sample

    def __contains__(self, name: object) -> bool:
        return name in self.metadata

    def __iter__(self) -> Iterator[str]:
        return iter(self.metadata)

    def __len__(self) -> int:
        return len(self.metadata)


def load_samples(
    data: InputData, extractor: FeatureExtractor, check_count: Callable[[int], None] = lambda count: None
) -> Samples:
    """Load and check every sample of a sweep once.

    Args:
        data: The inputs.
        extractor: The network they are for.
        check_count: Called with the number of inputs before the first is loaded; raises if there are too many.

    Returns:
        The samples, in order.

    Raises:
        ReadoutError: if there are no inputs, names clash, shapes differ, or an input is not finite, is constant or, as
            an image, has values outside [0, 1].

    Examples:
        >>> from readout.data import UniformNoise
        >>> from readout.extractors import OrthonormalLinear
        >>> list(load_samples(UniformNoise(count=2, shape=(3, 4, 4)), OrthonormalLinear((3, 4, 4))))
        ['noise_000', 'noise_001']
    """
    data.prepare_data()
    data.setup("fit")
    data.prepare_for(extractor)
    check_count(len(data))
    samples, first = Samples(data.__getitem__, MEMORY), None
    for sample in data:
        if sample.name in samples:
            raise ReadoutError(f"Two inputs are named {sample.name!r}; give each its own name.")
        first = sample.input.shape if first is None else first
        _check(sample, first)
        samples.add(sample)
    if not samples:
        raise ReadoutError("There are no inputs; give at least one.")
    return samples


def values_digest(x: Tensor) -> str:
    """Return the digest of an input's type, shape and values."""
    return tensor_digest([("input", x)])


def _check(sample: Sample, first: torch.Size) -> None:
    """Check an input by itself, and its shape against that of the first."""
    x, texts = sample.input, not sample.input.is_floating_point()
    if x.ndim != len(first) or (not texts and x.shape != first):
        raise ReadoutError(
            f"Input {sample.name!r} has shape {tuple(x.shape)}, but the first has {tuple(first)}; bring all inputs of "
            "a sweep to one shape."
        )
    if texts:
        return
    if not x.isfinite().all():
        raise ReadoutError(f"Input {sample.name!r} has values that are not finite; remove it.")
    low, high = x.min().item(), x.max().item()
    if is_image(x) and (low < -ROUNDING or high > 1 + ROUNDING):
        raise ReadoutError(
            f"Image {sample.name!r} has values from {low:.4g} to {high:.4g}; scale images to [0, 1] and leave "
            "normalisation to the extractor."
        )
    if high - low < 1e-6:
        raise ReadoutError(f"Input {sample.name!r} is constant, so nothing correlates with it; remove it.")
