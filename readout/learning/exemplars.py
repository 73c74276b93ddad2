"""Parts of images at which latents are largest."""

from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from readout.codes import Coder, Dictionary, LayerCoder
from readout.data.images import is_image
from readout.learning.activations import Activations

IMAGES = 48
"""Most images that are searched."""

EACH = 8
"""Most parts per latent, each of another image."""

SHARE = 1 / 4
"""Side of a part, as a share of the image's."""


@torch.no_grad()
def exemplars(
    data: Activations, dictionary: Dictionary, coder: Coder, iterations: int, latents: Sequence[int]
) -> Tensor | None:
    """Cut out of held-out images where latents are largest.

    Args:
        data: What the dictionary was learnt from; loaded.
        dictionary: The dictionary.
        coder: Infers codes.
        iterations: Most iterations of the coder.
        latents: Which latents.

    Returns:
        Shape (latents, parts, 3, side, side), the largest first, NaN where a latent is not active in as many images;
        None if inputs are no images, or features have no positions.
    """
    unseen = [data.unseen[name] for name in islice(data.unseen, IMAGES)]
    if not is_image(unseen[0]):
        return None
    images = torch.stack(unseen)
    feature = data.extractor.extract(images.to(data.extractor.mean.device), data.layer).float().cpu()
    if feature.ndim != 4:
        return None
    codes = LayerCoder(dictionary, coder, iterations).encode(feature)[:, :, list(latents)]
    largest, positions = codes.max(1)
    height, width = images.shape[-2:]
    side = max(1, round(SHARE * min(height, width)))
    found = torch.full((len(latents), min(EACH, len(images)), 3, side, side), torch.nan)
    for place in range(len(latents)):
        values, chosen = largest[:, place].topk(found.shape[1])
        for column, (value, image) in enumerate(zip(values.tolist(), chosen.tolist(), strict=True)):
            if value > 0:
                row, along = divmod(int(positions[image, place]), feature.shape[-1])
                top = _start(row, feature.shape[-2], height, side)
                left = _start(along, feature.shape[-1], width, side)
                found[place, column] = images[image, :, top : top + side, left : left + side]
    return found


def _start(position: int, positions: int, pixels: int, side: int) -> int:
    """Return the first pixel of a part whose centre is at a position, as far as the image reaches."""
    centre = (position + 0.5) / positions * pixels
    return min(max(0, int(centre - side / 2)), pixels - side)
