"""A decoder trained to invert relu4_1 of the normalised VGG19 as a prior."""

import torch
from torch import nn

from readout.common.checks import check_number
from readout.common.errors import ReadoutError
from readout.extractors.weights import VGG19_DECODER, fetch, load_state_dict
from readout.priors.decoder import DecoderPrior

LATENT_CHANNELS, DOWNSAMPLING = 512, 8
WIDTHS = ((512, 256), (256, 256), (256, 256), (256, 256), (256, 128), (128, 128), (128, 64), (64, 64), (64, 3))
UPSAMPLED_AFTER = (1, 5, 7)


class VGGDecoder(DecoderPrior):
    """Images from a small trained decoder, whose weights are fetched through pip.

    The latent has the shape of VGG19's relu4_1, (512, height / 8, width / 8). The decoder was trained on that layer,
    so sizes that it gives for VGG19 are favourable ones.

    Args:
        init_std: Standard deviation of the initial latents.

    Raises:
        ReadoutError: if the weights can't be fetched, or ``init_std`` is out of range.
    """

    def __init__(self, init_std: float = 1.0) -> None:
        check_number("init_std", init_std, 0)  # before anything is fetched
        with torch.random.fork_rng(devices=[]):  # weights are drawn, then overwritten
            decoder = _build()
        decoder.load_state_dict(load_state_dict(fetch(VGG19_DECODER)))
        super().__init__(decoder, init_std)

    def latent_shape(self, input_shape: torch.Size) -> torch.Size:
        """See :meth:`DecoderPrior.latent_shape`; sides must be multiples of 8, at least 16."""
        sides = input_shape[1:]
        if len(input_shape) != 3 or input_shape[0] != 3 or any(s % DOWNSAMPLING or s < 2 * DOWNSAMPLING for s in sides):
            raise ReadoutError(
                f"VGGDecoder produces RGB images whose sides are multiples of {DOWNSAMPLING} pixels, at least "
                f"{2 * DOWNSAMPLING}, not {'×'.join(map(str, input_shape))}; change the images' size."
            )
        return torch.Size([LATENT_CHANNELS, *(side // DOWNSAMPLING for side in sides)])


def _build() -> nn.Sequential:
    modules: list[nn.Module] = []
    for position, (channels_in, channels_out) in enumerate(WIDTHS, start=1):
        modules += [nn.ReflectionPad2d(1), nn.Conv2d(channels_in, channels_out, kernel_size=3)]
        if position < len(WIDTHS):
            modules.append(nn.ReLU())
        if position in UPSAMPLED_AFTER:
            modules.append(nn.Upsample(scale_factor=2, mode="nearest"))
    return nn.Sequential(*modules)
