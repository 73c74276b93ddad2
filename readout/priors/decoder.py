"""DecoderPrior: the latent of a trained, frozen decoder is optimised."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Self

from readout.common.checks import check_number
from readout.priors.base import Prior
from readout.problems.identity import tensor_digest


class DecoderPrior(Prior):
    """Images are what a trained decoder makes of latents; all problems share it, each has a latent of its own.

    Args:
        decoder: Latents (problems, ...) to images; frozen here.
        init_std: Standard deviation of the initial latents, which are normal around 0.

    Raises:
        ReadoutError: if ``init_std`` is out of range.
    """

    def __init__(self, decoder: nn.Module, init_std: float) -> None:
        super().__init__()
        self.init_std = check_number("init_std", init_std, 0)
        self.decoder = decoder.requires_grad_(False).eval()

    @abstractmethod
    def latent_shape(self, input_shape: torch.Size) -> torch.Size:
        """Shape of the latent of one image.

        Raises:
            ReadoutError: if the decoder makes no images of that shape.
        """

    def initialise(self, seeds: Sequence[int], input_shape: torch.Size) -> None:
        """See :meth:`Prior.initialise`."""
        shape = self.latent_shape(input_shape)
        noise = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        self.latents = nn.Parameter(self.init_std * torch.stack(noise))

    def keep(self, rows: Tensor) -> bool:
        """See :meth:`Prior.keep`."""
        self.latents.data = self.latents.data[rows]
        return True

    def forward(self) -> Tensor:
        """See :meth:`Prior.forward`; values are cut to [0, 1]."""
        return self.decode(self.latents).clamp(0, 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to images, before they are cut to [0, 1]."""
        images: Tensor = self.decoder(latents)
        return images

    def fingerprint(self) -> str:
        """Digest of the decoder's weights."""
        return tensor_digest(sorted(self.decoder.state_dict().items()))

    def train(self, mode: bool = True) -> Self:
        """The decoder stays in evaluation mode."""
        super().train(mode)
        self.decoder.eval()
        return self
