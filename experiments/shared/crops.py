"""Random crops as further images."""

import torch
from torch import Tensor
from torch.nn import functional as F


def random_crops(image: Tensor, count: int, seed: int, smallest: float = 0.35, largest: float = 0.8) -> list[Tensor]:
    """Crop random squares from an image, resize them to its size and mirror some.

    Args:
        image: Shape (channels, side, side).
        count: Number of crops.
        seed: Seed of places and sizes.
        smallest: Smallest side of a crop, as a share of the image's.
        largest: Largest side of a crop, as a share of the image's.
    """
    generator = torch.Generator().manual_seed(seed)
    side, crops = image.shape[-1], []
    for _ in range(count):
        share, top, left, mirrored = torch.rand(4, generator=generator).tolist()
        part = max(2, round(side * (smallest + share * (largest - smallest))))
        rows, columns = round(top * (side - part)), round(left * (side - part))
        crop = image[:, rows : rows + part, columns : columns + part].unsqueeze(0)
        grown = F.interpolate(crop, size=image.shape[-2:], mode="bilinear", align_corners=False)[0]
        crops.append(grown.flip(-1) if mirrored < 0.5 else grown)
    return crops
