"""InputData: named inputs for a sweep."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

from lightning.pytorch import LightningDataModule
from torch import Tensor


class Sample(NamedTuple):
    """One input with the name it goes by in every table."""

    name: str
    input: Tensor
    """In the user's space; images: RGB float in [0, 1], shape (3, height, width)."""


class InputData(LightningDataModule, ABC):
    """Named inputs, loaded one by one; all of one shape.

    A subclass implements :meth:`__len__` and :meth:`__getitem__`; names must differ.
    """

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
