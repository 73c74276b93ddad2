"""Images as their own pixels: no prior."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from readout.common.checks import check_number
from readout.priors.base import Prior


class Pixels(Prior):
    """Free pixels, the paper's ablation without a Deep Image Prior.

    Args:
        clamp: Keep pixels in [0, 1] by projection after each step, which leaves the gradient intact.
        total_variation: Weight of the anisotropic total variation, the mean absolute difference between
            neighbouring pixels (Mahendran & Vedaldi, 2015, use its squared form); needs images.
        init_std: Standard deviation of the initial noise around mid-grey (0.5).

    Raises:
        ReadoutError: if a number is out of range.

    Examples:
        >>> prior = Pixels(init_std=0.0)
        >>> prior.initialise(seeds=[0], input_shape=torch.Size([1, 1, 2]))
        >>> prior().tolist()
        [[[[0.5, 0.5]]]]
    """

    capturable = True

    def __init__(self, clamp: bool = True, total_variation: float = 0.0, init_std: float = 0.01) -> None:
        super().__init__()
        self.clamp = clamp
        self.total_variation = check_number("total_variation", total_variation, 0)
        self.init_std = check_number("init_std", init_std, 0)

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        """See :meth:`Prior.initialise`."""
        noise = [torch.randn(input_shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        self.pixels = nn.Parameter(0.5 + self.init_std * torch.stack(noise))

    def start_from(self, inputs: Tensor) -> None:
        """See :meth:`Prior.start_from`; the noise is that around mid-grey."""
        self.pixels.data += inputs.to(self.pixels) - 0.5

    def keep(self, rows: Tensor) -> bool:
        """See :meth:`Prior.keep`."""
        self.pixels.data = self.pixels.data[rows]
        return True

    def forward(self) -> Tensor:
        """See :meth:`Prior.forward`."""
        if self.clamp:
            self.pixels.data.clamp_(0, 1)
        # a copy, because the next step changes the pixels in place
        return self.pixels * 1

    def penalty(self, recovered: Tensor) -> Tensor:
        """Return the weighted total variation of each image."""
        if not self.total_variation:
            return super().penalty(recovered)
        return self.total_variation * total_variation(recovered)


def total_variation(images: Tensor) -> Tensor:
    """Return the mean absolute difference between vertical neighbours plus that between horizontal ones.

    Args:
        images: Shape (problems, ..., height, width).

    Returns:
        Shape (problems,).

    Examples:
        >>> total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]]))
        tensor([1.])
    """
    rows = images.diff(dim=-2).abs().flatten(1).mean(1)
    columns = images.diff(dim=-1).abs().flatten(1).mean(1)
    return rows + columns
