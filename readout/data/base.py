"""InputData: named inputs for a sweep."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from lightning.pytorch import LightningDataModule
from torch import Tensor

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
