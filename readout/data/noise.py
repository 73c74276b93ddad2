"""Images of noise, the paper's control for natural ones."""

from collections.abc import Sequence

import torch

from readout.data.base import InputData, Sample
from readout.errors import ReadoutError
from readout.identity import derive_seed


class UniformNoise(InputData):
    """Inputs whose values are independent and uniform on [0, 1].

    Args:
        count: How many.
        shape: Shape of one input.
        seed: Seed; input number i is the same whatever ``count`` is.

    Raises:
        ReadoutError: if ``count`` is below 1.
    """

    def __init__(self, count: int = 4, shape: Sequence[int] = (3, 64, 64), seed: int = 0) -> None:
        super().__init__()
        if count < 1:
            raise ReadoutError(f"count is {count}; ask for at least 1 noise image.")
        self.count, self.shape, self.seed = count, tuple(shape), seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        generator = torch.Generator().manual_seed(derive_seed("uniform noise", self.seed, index))
        return Sample(f"noise_{index:03d}", torch.rand(self.shape, generator=generator))
