"""InputData: named inputs for a sweep."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lightning.pytorch import LightningDataModule
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.data.images import ROUNDING, is_image
from readout.extractors import FeatureExtractor


class Sample(NamedTuple):
    """One input, with its name in all tables."""

    name: str
    """Unique among the inputs of a sweep."""
    input: Tensor
    """In the user's space. Images: RGB float in [0, 1], shape (3, height, width); texts: token ids, (positions,)."""
    label: str | None = None
    """Class of the input, if known."""


class InputData(LightningDataModule, ABC):
    """Named inputs, loaded one by one; all have one shape, except that texts may differ in length.

    A subclass implements :meth:`__len__` and :meth:`__getitem__`; names must be unique.

    Examples:
        >>> import torch
        >>> class Ramps(InputData):
        ...     def __len__(self):
        ...         return 2
        ...     def __getitem__(self, index):
        ...         return Sample(f"ramp_{index}", torch.linspace(0, 1, 192).view(3, 8, 8) ** (index + 1))
        >>> [sample.name for sample in Ramps()]
        ['ramp_0', 'ramp_1']
    """

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Adapt the inputs to the network, such as to its tokenizer; by default, do nothing."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of inputs."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Load one input.

        Raises:
            IndexError: if ``index`` is past the end.
        """

    def __iter__(self) -> Iterator[Sample]:
        """Iterate over all inputs in order."""
        return (self[index] for index in range(len(self)))


def load_samples(
    data: InputData, extractor: FeatureExtractor, check_count: Callable[[int], None] = lambda count: None
) -> dict[str, Sample]:
    """Load and check all samples of a sweep.

    Args:
        data: The inputs.
        extractor: The network they are for.
        check_count: Called with the number of inputs before the first is loaded; raises if there are too many.

    Returns:
        Name → sample, in order.

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
    samples: dict[str, Sample] = {}
    for sample in data:
        if sample.name in samples:
            raise ReadoutError(f"Two inputs are named {sample.name!r}; give each its own name.")
        samples[sample.name] = sample
        first = next(iter(samples.values())).input
        texts = not sample.input.is_floating_point()
        if sample.input.ndim != first.ndim or (not texts and sample.input.shape != first.shape):
            raise ReadoutError(
                f"Input {sample.name!r} has shape {tuple(sample.input.shape)}, but the first has {tuple(first.shape)}; "
                "bring all inputs of a sweep to one shape."
            )
        if texts:
            continue
        if not sample.input.isfinite().all():
            raise ReadoutError(f"Input {sample.name!r} has values that are not finite; remove it.")
        if is_image(sample.input):
            _check_range(sample)
        if sample.input.max() - sample.input.min() < 1e-6:
            raise ReadoutError(f"Input {sample.name!r} is constant, so nothing correlates with it; remove it.")
    if not samples:
        raise ReadoutError("There are no inputs; give at least one.")
    return samples


def _check_range(sample: Sample) -> None:
    low, high = sample.input.min().item(), sample.input.max().item()
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ReadoutError(
            f"Image {sample.name!r} has values from {low:.4g} to {high:.4g}; scale images to [0, 1] and leave "
            "normalisation to the extractor."
        )
