"""The network behind the Deep Image Prior."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UNet(nn.Module):
    """U-Net after Ulyanov et al. (2018, arXiv 1711.10925): reflection padding, max-pool down, bilinear up.

    Instance norm stands where the original has batch norm, which at its batch size of one is the same
    thing; so no sample ever sees another.

    Args:
        channels: Channels in and out.
        filters: Width of each scale, finest first.
    """

    def __init__(self, channels: int, filters: Sequence[int]) -> None:
        super().__init__()
        widths = list(filters)
        self.down = nn.ModuleList(_block(i, o) for i, o in zip([channels, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(
            _block(coarse + fine, fine) for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.out = nn.Conv2d(widths[0], channels, kernel_size=1)

    def forward(self, latent: Tensor) -> Tensor:
        """Latents (batch, channels, height, width) to images in (0, 1) of the same shape."""
        x = self.down[0](latent)
        skips = [x]
        for block in self.down[1:]:
            x = block(F.max_pool2d(x, 2))
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            upsampled = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([upsampled, skip], dim=1))
        image: Tensor = self.out(x).sigmoid()
        return image


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (channels_in, channels_out):
        layers += [
            nn.Conv2d(width, channels_out, kernel_size=3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(channels_out, affine=True),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
