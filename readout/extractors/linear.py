"""A linear extractor, for which recovery is known in closed form."""

import math

import torch
from torch import Tensor, nn

from readout.common.checks import check_number, check_seed, check_shape
from readout.extractors.base import FeatureExtractor


class OrthonormalLinear(FeatureExtractor):
    """A linear map h = W (x − mean) with orthonormal columns, from d inputs to D = expansion · d features.

    It checks the whole pipeline against :func:`readout.representation.linear_distance` and
    :func:`readout.representation.linear_size`.

    Args:
        input_shape: Shape of one input, e.g. (3, 16, 16).
        expansion: D / d, at least 1.
        mean: Value subtracted from every input, so that a feature's variance follows from the variance of its input.
        seed: Seed of the random W.

    Raises:
        ReadoutError: if a number is out of range, or W does not fit in memory.

    Examples:
        >>> extractor = OrthonormalLinear(input_shape=(3, 4, 4), expansion=2)
        >>> x = torch.rand(1, 3, 4, 4)
        >>> h = extractor.extract(x, "linear")
        >>> h.shape
        torch.Size([1, 96])
        >>> torch.allclose(h.norm(), (x - 0.5).norm())
        True
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
        linear = nn.Linear(input_dim, len(noise), bias=False, device="meta")  # skips its own initialisation
        linear.weight = nn.Parameter(torch.linalg.qr(noise)[0].contiguous())
        super().__init__(nn.Sequential(nn.Flatten(), linear), layers={"linear": "1"}, mean=[mean])
        self.input_shape = tuple(input_shape)
        self.weights = f"D/d={expansion:g}"

    def example(self, size: int) -> Tensor:
        """Return one blank input of ``input_shape``, whatever the ``size``."""
        return torch.zeros(1, *self.input_shape)
