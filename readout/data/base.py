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
    """One input with the name it goes by in every table."""

    name: str
    """Unique among the inputs of a sweep."""
    input: Tensor
    """In the user's space; images: RGB float in [0, 1], shape (3, height, width); texts: token ids (positions,)."""
    label: str | None = None
    """Its class, where the data tell."""


class InputData(LightningDataModule, ABC):
    """Named inputs, loaded one by one; all of one shape, but for texts, whose lengths may differ.

    A subclass implements :meth:`__len__` and :meth:`__getitem__`; names must differ.
    """

    def prepare_for(self, extractor: FeatureExtractor) -> None:
        """Learn from the network how inputs must be made, such as its tokenizer; nothing by default."""

    @abstractmethod
    def __len__(self) -> int:
        """How many inputs there are."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Load one input.

        Raises:
            IndexError: past the end.
        """

    def __iter__(self) -> Iterator[Sample]:
        """All inputs in order."""
        return (self[index] for index in range(len(self)))


def load_samples(
    data: InputData, extractor: FeatureExtractor, check_count: Callable[[int], None] = lambda count: None
) -> dict[str, Sample]:
    """All samples of a sweep by name.

    Args:
        data: The inputs.
        extractor: The network that will see them.
        check_count: Told how many there are before one is loaded; raises if they are too many.

    Raises:
        ReadoutError: if names clash, shapes differ, or values can't be used: not finite, constant, or
            those of an image outside [0, 1].
    """
    data.prepare_data()
    data.setup("fit")
    data.prepare_for(extractor)
    check_count(len(data))
    samples: dict[str, Sample] = {}
    for sample in data:
        if sample.name in samples:
            raise ReadoutError(f"Two inputs are called {sample.name!r}; give each a name of its own.")
        samples[sample.name] = sample
        first = next(iter(samples.values())).input
        texts = not sample.input.is_floating_point()
        if sample.input.ndim != first.ndim or (not texts and sample.input.shape != first.shape):
            raise ReadoutError(
                f"Input {sample.name!r} has shape {tuple(sample.input.shape)}, the first has {tuple(first.shape)}; "
                "a sweep needs one shape."
            )
        if texts:
            continue
        if not sample.input.isfinite().all():
            raise ReadoutError(f"Input {sample.name!r} holds values that are not finite; take it out.")
        if is_image(sample.input):
            _check_range(sample)
        if sample.input.max() - sample.input.min() < 1e-6:
            raise ReadoutError(f"Input {sample.name!r} is constant, so nothing correlates with it; take it out.")
    if not samples:
        raise ReadoutError("The data hold no inputs; give at least one.")
    return samples


def _check_range(sample: Sample) -> None:
    low, high = sample.input.min().item(), sample.input.max().item()
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ReadoutError(
            f"Image {sample.name!r} has values from {low:.4g} to {high:.4g}; scale images to [0, 1], without the "
            "network's own normalisation."
        )
