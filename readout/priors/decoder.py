"""The base class of priors that optimise the latents of a trained, frozen decoder."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import Self

from readout.common.checks import check_number
from readout.priors.base import Prior
from readout.problems.identity import tensor_digest


class DecoderPrior(Prior):
    """Images from one frozen decoder shared by all problems, with one latent per problem.

    Args:
        decoder: Module from latents (problems, ...) to images; frozen here.
        init_std: Standard deviation of the initial latents, normal with mean 0.

    Raises:
        ReadoutError: if ``init_std`` is out of range.
    """

    def __init__(self, decoder: nn.Module, init_std: float) -> None:
        super().__init__()
        self.init_std = check_number("init_std", init_std, 0)
        self.decoder = decoder.requires_grad_(False).eval()

    @abstractmethod
    def latent_shape(self, input_shape: torch.Size) -> torch.Size:
        """Return the latent's shape for an image's shape.

        Raises:
            ReadoutError: if the decoder can't produce images of that shape.
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
        """See :meth:`Prior.forward`; values are clamped to [0, 1]."""
        return self.decode(self.latents).clamp(0, 1)

    def decode(self, latents: Tensor) -> Tensor:
        """Map latents to images, without clamping to [0, 1]."""
        images: Tensor = self.decoder(latents)
        return images

    def fingerprint(self) -> str:
        """Return a digest of the decoder's weights."""
        return tensor_digest(sorted(self.decoder.state_dict().items()))

    def train(self, mode: bool = True) -> Self:
        """Set the prior's mode; the decoder stays in evaluation mode."""
        super().train(mode)
        self.decoder.eval()
        return self
