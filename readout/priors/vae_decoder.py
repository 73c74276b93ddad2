"""The decoder of a latent diffusion model's autoencoder as a prior."""

from typing import Any

import torch
from torch import Tensor, nn

from readout.common.checks import check_number
from readout.common.errors import ReadoutError
from readout.extractors.sdxl_vae import downsampling, load_autoencoder
from readout.priors.decoder import DecoderPrior
from readout.problems.identity import digest


class VAEDecoder(DecoderPrior):
    """Images from the frozen decoder of an ``AutoencoderKL``.

    Latents have the scale that diffusion models use, at which those of natural images have unit variance. As in
    diffusers, the decoder's [−1, 1] is mapped to [0, 1] and clamped; a clamped pixel has no gradient until its
    neighbours bring it back into range.

    Args:
        weights: Hub id, or folder written by ``save_pretrained``. Downloads go to the hub's cache.
        pretrained: False for random weights; ``weights`` then only names the architecture.
        seed: Seed of random weights.
        init_std: Standard deviation of the initial latents.

    Raises:
        ReadoutError: if the model can't be loaded, or ``init_std`` is out of range.
    """

    def __init__(
        self,
        weights: str = "stabilityai/sdxl-vae",
        pretrained: bool = True,
        seed: int = 0,
        init_std: float = 1.0,
    ) -> None:
        check_number("init_std", init_std, 0)  # before anything is loaded
        vae = load_autoencoder(weights, pretrained, seed)
        super().__init__(_Decoder(vae), init_std)
        self.weights = weights
        self.pretrained = pretrained
        self.seed = seed
        self._downsampling = downsampling(vae)
        self._channels = (int(vae.config.latent_channels), int(vae.config.out_channels))

    def latent_shape(self, input_shape: torch.Size) -> torch.Size:
        """See :meth:`DecoderPrior.latent_shape`; sides must be multiples of the downsampling factor (SDXL: 8)."""
        latent_channels, channels = self._channels
        sides = input_shape[1:]
        if len(input_shape) != 3 or input_shape[0] != channels or any(side % self._downsampling for side in sides):
            raise ReadoutError(
                f"VAEDecoder produces images with {channels} channels whose sides are multiples of "
                f"{self._downsampling} pixels, not {'×'.join(map(str, input_shape))}; change the images' size."
            )
        return torch.Size([latent_channels, *(side // self._downsampling for side in sides)])

    def fingerprint(self) -> str:
        """Return a digest of the decoder's architecture and weights, and of the latents' scale."""
        return digest([repr(self.decoder), super().fingerprint()])


class _Decoder(nn.Module):
    """Decoder from scaled latents to images with values around [0, 1]."""

    scale: Tensor
    shift: Tensor

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.post_quant_conv = vae.post_quant_conv if vae.post_quant_conv is not None else nn.Identity()
        self.decoder = vae.decoder
        self.register_buffer("scale", torch.tensor(float(vae.config.scaling_factor)))
        self.register_buffer("shift", torch.tensor(float(vae.config.shift_factor or 0.0)))

    def forward(self, latents: Tensor) -> Tensor:
        images: Tensor = self.decoder(self.post_quant_conv(latents / self.scale + self.shift))
        return images / 2 + 0.5
