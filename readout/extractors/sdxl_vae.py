"""The encoder of SDXL's autoencoder (Podell et al., 2024, arXiv 2307.01952), from diffusers."""

from typing import Any

from torch import Tensor, nn

from readout.common.checks import check_seed
from readout.common.errors import ReadoutError
from readout.extractors.base import FeatureExtractor
from readout.extractors.hub import complete, described, loading, locate

FILES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model-*.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
)


class SDXLVAE(FeatureExtractor):
    """SDXL's image encoder, or that of any other ``AutoencoderKL`` of diffusers.

    Layers are its stages: ``conv_in``, ``down_blocks.0`` …, ``mid_block`` and ``latent_mean``, the mean of the latent's
    distribution before the scaling that diffusion models apply.

    Args:
        weights: A hub id or a folder written by ``save_pretrained``. Downloads go to the hub's own cache.
        pretrained: False for random weights; ``weights`` then only names the architecture.
        seed: Seed of random weights.

    Raises:
        ReadoutError: if the model can't be loaded, is not an ``AutoencoderKL``, or its weights are incomplete or not
            finite.
    """

    def __init__(self, weights: str = "stabilityai/sdxl-vae", pretrained: bool = True, seed: int = 0) -> None:
        vae = load_autoencoder(weights, pretrained, seed)
        encoder = vae.encoder
        blocks = {f"down_blocks.{place}": block for place, block in enumerate(encoder.down_blocks)}
        to_latent = [encoder.conv_norm_out, encoder.conv_act, encoder.conv_out, vae.quant_conv, _Mean()]
        stages = {
            "conv_in": encoder.conv_in,
            **blocks,
            "mid_block": encoder.mid_block,
            "latent_mean": nn.Sequential(*(module for module in to_latent if module is not None)),
        }
        layers = {name: str(place) for place, name in enumerate(stages)}
        super().__init__(nn.Sequential(*stages.values()), layers, mean=[0.5], std=[0.5])  # [0, 1] to [−1, 1]
        self.weights = described(weights, pretrained, seed)
        self._channels, self._multiple = int(vae.config.in_channels), downsampling(vae)

    def preprocess(self, x: Tensor) -> Tensor:
        """See :meth:`FeatureExtractor.preprocess`.

        Raises:
            ReadoutError: if ``x`` is not a batch of images whose sides are multiples of the downsampling factor.
        """
        if x.ndim != 4 or x.shape[1] != self._channels or x.shape[2] % self._multiple or x.shape[3] % self._multiple:
            raise ReadoutError(
                f"{self.name} takes images of {self._channels} channels whose sides are multiples of {self._multiple} "
                f"pixels, not of shape {'×'.join(map(str, x.shape[1:]))}; choose another image size."
            )
        return super().preprocess(x)

    def run_to(self, x: Tensor, layer: str) -> Tensor:
        """See :meth:`FeatureExtractor.run_to`; slices the network instead of hooking into it."""
        assert isinstance(self.network, nn.Sequential)
        output: Tensor = self.network[: int(self.layers[layer]) + 1](x)
        return output


def load_autoencoder(weights: str, pretrained: bool, seed: int) -> Any:
    """Load an ``AutoencoderKL`` of diffusers, encoder and decoder, in float32; see :class:`SDXLVAE` for arguments.

    Raises:
        ReadoutError: if the model can't be loaded, is not an ``AutoencoderKL``, or its weights are incomplete or not
            finite.
    """
    check_seed("seed", seed)
    import diffusers
    from diffusers.utils import logging

    autoencoder: Any = diffusers.AutoencoderKL  # mostly untyped
    folder = locate(weights, FILES if pretrained else ())
    with loading(weights, logging, seed):
        config = autoencoder.load_config(folder)
        found = config.get("_class_name", config.get("model_type"))
        if found != "AutoencoderKL":
            raise ReadoutError(
                f"{weights!r} holds a model of class {found}, not an AutoencoderKL; give one such as "
                "'stabilityai/sdxl-vae' (of a whole pipeline, its folder `vae`)."
            )
        if not pretrained:
            return autoencoder.from_config(config)
        vae, info = autoencoder.from_pretrained(folder, output_loading_info=True)
        return complete(vae, info, weights)


def downsampling(vae: Any) -> int:
    """Return the number of pixels per latent position, along a side."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))


class _Mean(nn.Module):
    """Module that keeps the mean of concatenated (mean, log-variance) channels."""

    def forward(self, moments: Tensor) -> Tensor:
        return moments.chunk(2, dim=1)[0]
