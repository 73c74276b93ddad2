"""The extractor whose answer is known in closed form."""

import math

import torch
from torch import Tensor, nn

from readout.common.checks import check_number, check_seed, check_shape
from readout.extractors.base import FeatureExtractor


class OrthonormalLinear(FeatureExtractor):
    """h = W (x − mean) with orthonormal columns: d inputs, D = expansion · d features.

    With it, the whole pipeline can be held against
    :func:`readout.representation.linear_distance` and :func:`readout.representation.linear_size`.

    Args:
        input_shape: Shape of one input, e.g. (3, 16, 16).
        expansion: D / d, at least 1.
        mean: Subtracted from every input, so that features are as noisy as the inputs' variance says.
        seed: Seed of the random W.

    Raises:
        ReadoutError: if a number is out of range, or W does not fit the memory.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...] = (3, 16, 16),
        expansion: float = 4,
        mean: float = 0.5,
        seed: int = 0,
    ) -> None:
        check_number("expansion", expansion, 1, hint=", because columns are orthonormal")
        check_number("mean", mean)
        check_seed("seed", seed)
        input_dim = math.prod(check_shape("input_shape", input_shape))
        outputs = round(expansion * input_dim)
        check_shape("W", (outputs, input_dim))
        noise = torch.randn(outputs, input_dim, generator=torch.Generator().manual_seed(seed))
        linear = nn.Linear(input_dim, len(noise), bias=False, device="meta")
        linear.weight = nn.Parameter(torch.linalg.qr(noise)[0].contiguous())
        super().__init__(nn.Sequential(nn.Flatten(), linear), layers={"linear": "1"}, mean=[mean])
        self.input_shape = tuple(input_shape)
        self.weights = f"D/d={expansion:g}"

    def example(self, size: int) -> Tensor:
        """Its inputs have the shape it was built for."""
        return torch.zeros(1, *self.input_shape)
