"""Further images out of those at hand."""

import torch
from torch import Tensor
from torch.nn import functional as F


def random_crops(image: Tensor, count: int, seed: int, smallest: float = 0.35, largest: float = 0.8) -> list[Tensor]:
    """Square parts of an image at random places, brought back to its size; some mirrored.

    Args:
        image: Shape (channels, side, side).
        count: How many.
        seed: Seed of places and sizes.
        smallest: Side of a part at least, as a share of the image's.
        largest: The same at most.
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
