"""Noise images, the paper's control for natural images."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from readout.common.checks import check_number, check_seed, check_shape, check_whole
from readout.data.base import InputData, Sample
from readout.problems.identity import derive_seed


class _Noise(InputData):
    """Inputs of independent values; each depends only on the kind of noise, the seed and its index."""

    kind: ClassVar[str]

    def __init__(self, count: int, shape: Sequence[int], seed: int) -> None:
        super().__init__()
        self.count, self.seed = check_whole("count", count, 1), check_seed("seed", seed)
        self.shape = check_shape("shape", shape, self.count)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        generator = torch.Generator().manual_seed(derive_seed(self.kind, self.seed, index))
        return Sample(f"noise_{index:03d}", self._draw(generator))

    @abstractmethod
    def _draw(self, generator: torch.Generator) -> Tensor:
        """Draw one input of shape ``self.shape``."""


class UniformNoise(_Noise):
    """Inputs with independent values, uniform on [0, 1].

    Args:
        count: Number of inputs; a larger one adds to a smaller one.
        shape: Shape of one input.
        seed: Seed of the noise.

    Raises:
        ReadoutError: if a number is out of range, or the inputs don't fit in memory.

    Examples:
        >>> data = UniformNoise(count=2, shape=(3, 8, 8))
        >>> data[1].name, data[1].input.shape
        ('noise_001', torch.Size([3, 8, 8]))
    """

    kind = "uniform noise"

    def __init__(self, count: int = 4, shape: Sequence[int] = (3, 64, 64), seed: int = 0) -> None:
        super().__init__(count, shape, seed)

    def _draw(self, generator: torch.Generator) -> Tensor:
        return torch.rand(self.shape, generator=generator)


class GaussianNoise(_Noise):
    """Inputs with independent Gaussian values, clipped to [0, 1] (with the defaults, clipping affects 1.2 % of them).

    Args:
        count: Number of inputs; a larger one adds to a smaller one.
        shape: Shape of one input.
        seed: Seed of the noise, which ``mean`` and ``std`` shift and scale.
        mean: Mean before clipping.
        std: Standard deviation before clipping.

    Raises:
        ReadoutError: if a number is out of range, or the inputs don't fit in memory.
    """

    kind = "gaussian noise"

    def __init__(
        self,
        count: int = 4,
        shape: Sequence[int] = (3, 64, 64),
        seed: int = 0,
        mean: float = 0.5,
        std: float = 0.2,
    ) -> None:
        super().__init__(count, shape, seed)
        self.mean = check_number("mean", mean)
        self.std = check_number("std", std, above=0, hint=", because nothing correlates with a constant image")

    def _draw(self, generator: torch.Generator) -> Tensor:
        return (self.mean + self.std * torch.randn(self.shape, generator=generator)).clamp(0, 1)
