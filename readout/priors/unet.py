"""The U-Net of the Deep Image Prior."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UNet(nn.Module):
    """U-Net of Ulyanov et al. (2018, arXiv 1711.10925): reflection padding, max pooling, bilinear upsampling.

    Instance norm replaces batch norm, so that samples stay independent; at the original's batch size of one, the two
    are the same.

    Args:
        channels: Channels of input and output.
        filters: Width of each scale, finest first.
        copies: Number of networks run as one, by grouped convolutions with one group per network. Channels and
            weights of the networks are concatenated, and the batch size is 1.
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
        """Map latents (batch, copies · channels, height, width) to images in (0, 1) of the same shape."""
        x = self.down[0](latent)
        skips = [x]
        for block in self.down[1:]:
            x = block(F.max_pool2d(x, 2))
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            upsampled = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            if upsampled.requires_grad:
                # the gradient is a part of the joined one's, for which interpolation has no fast path
                upsampled.register_hook(_last)  # type: ignore[no-untyped-call]
            x = block(self._join(upsampled, skip))
        image: Tensor = self.out(x).sigmoid()
        return image

    def _join(self, upsampled: Tensor, skip: Tensor) -> Tensor:
        # interleave, so that each copy's upsampled and skip channels are adjacent; channels last matches the memory
        last = [part.movedim(1, -1) for part in (upsampled, skip)]
        own = [part.view(*part.shape[:-1], self.copies, -1) for part in last]
        return torch.cat(own, dim=-1).flatten(-2).movedim(-1, 1)


def _last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


def _block(channels_in: int, channels_out: int, copies: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (channels_in, channels_out):
        layers += [
            _Convolution(copies * width, copies * channels_out, kernel_size=3, groups=copies),
            _InstanceNorm(copies * channels_out, affine=True),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class _Convolution(nn.Conv2d):
    """3×3 convolution with reflection padding, outside autocast, which would convert to float32 and back for it."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return super().forward(x)


class _InstanceNorm(nn.InstanceNorm2d):
    """Instance norm; a batch of one uses batch norm, which keeps the channels-last layout."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) != 1:
            return super().forward(x)
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
