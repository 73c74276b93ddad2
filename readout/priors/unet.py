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
        copies: How many networks this is at once. Their channels come one after the other, every
            convolution has a group for each, and the batch is one. Weights are those of single
            networks, joined along their first dimension.
    """

    def __init__(self, channels: int, filters: Sequence[int], copies: int = 1) -> None:
        super().__init__()
        self.copies = copies
        widths = list(filters)
        self.down = nn.ModuleList(_block(i, o, copies) for i, o in zip([channels, *widths[:-1]], widths, strict=True))
        self.up = nn.ModuleList(
            _block(coarse + fine, fine, copies) for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.out = nn.Conv2d(copies * widths[0], copies * channels, kernel_size=1, groups=copies)

    def forward(self, latent: Tensor) -> Tensor:
        """Latents (batch, copies · channels, height, width) to images in (0, 1) of the same shape."""
        x = self.down[0](latent)
        skips = [x]
        for block in self.down[1:]:
            x = block(F.max_pool2d(x, 2))
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            upsampled = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(self._join(upsampled, skip))
        image: Tensor = self.out(x).sigmoid()
        return image

    def _join(self, upsampled: Tensor, skip: Tensor) -> Tensor:
        if self.copies == 1:
            return torch.cat([upsampled, skip], dim=1)
        # each copy's channels together; channels come last here because they lie so in memory
        last = [part.movedim(1, -1) for part in (upsampled, skip)]
        own = [part.view(*part.shape[:-1], self.copies, -1) for part in last]
        return torch.cat(own, dim=-1).flatten(-2).movedim(-1, 1)


def _block(channels_in: int, channels_out: int, copies: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (channels_in, channels_out):
        layers += [
            _Convolution(copies * width, copies * channels_out, kernel_size=3, groups=copies),
            _InstanceNorm(copies * channels_out, affine=True),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class _Convolution(nn.Conv2d):
    """3×3 over an input padded by its reflection; autocast would pad in float32, there and back."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return super().forward(x)


class _InstanceNorm(nn.InstanceNorm2d):
    """For a batch of one it is batch norm, which keeps channels last where they lie so."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) != 1:
            return super().forward(x)
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
