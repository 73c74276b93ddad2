"""The extractor whose answer is known in closed form."""

import torch
from torch import Tensor, nn

from readout.errors import ReadoutError
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
        ReadoutError: if ``expansion`` is below 1.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...] = (3, 16, 16),
        expansion: float = 4,
        mean: float = 0.5,
        seed: int = 0,
    ) -> None:
        if expansion < 1:
            raise ReadoutError(f"expansion is {expansion:g}; orthonormal columns need at least 1.")
        input_dim = int(torch.Size(input_shape).numel())
        noise = torch.randn(round(expansion * input_dim), input_dim, generator=torch.Generator().manual_seed(seed))
        linear = nn.Linear(input_dim, len(noise), bias=False, device="meta")
        linear.weight = nn.Parameter(torch.linalg.qr(noise)[0].contiguous())
        super().__init__(nn.Sequential(nn.Flatten(), linear), layers={"linear": "1"}, mean=[mean])
        self.input_shape = tuple(input_shape)
        self.weights = f"D/d={expansion:g}"

    def example(self, size: int) -> Tensor:
        """Its inputs have the shape it was built for."""
        return torch.zeros(1, *self.input_shape)
