"""Stimuli by name, their features, and folds over them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.data.samples import values_digest
from readout.external.true import true_images
from readout.extractors import FeatureExtractor, LanguageModel
from readout.problems.identity import derive_seed
from readout.readouts.one_pass import check_memory

BATCH = 32
"""Stimuli per run of the network."""

LEAST = 3
"""Fewest stimuli of a fold; any two points correlate by 1 or −1."""


def find_stimuli(names: Sequence[str], folder: str, extractor: FeatureExtractor, size: int) -> Tensor:
    """Find the image of every stimulus by name; see :func:`readout.external.true.matched`.

    Args:
        names: Names of the stimuli.
        folder: Folder of images.
        extractor: The network.
        size: Side of the images in pixels.

    Returns:
        Shape (stimuli, *input_shape).

    Raises:
        ReadoutError: if one is missing, two are the same image, or the network takes texts.
    """
    if isinstance(extractor, LanguageModel):
        raise ReadoutError("Stimuli are images, but this network reads texts; give a network for images.")
    images = true_images(folder, names, extractor.example(size).shape[1:])
    missing = [name for name in names if name not in images]
    if missing:
        raise ReadoutError(
            f"{len(missing)} of {len(names)} stimuli, such as {missing[0]!r}, have no image in {folder!r}; "
            "add them, or leave out their responses."
        )
    shown: dict[str, str] = {}
    for name in names:
        digest = values_digest(images[name])
        if digest in shown:  # or it would be among those to train on and those to test
            raise ReadoutError(
                f"Stimuli {shown[digest]!r} and {name!r} are the same image; leave one out, or give repeats one name "
                "in one file."
            )
        shown[digest] = name
    return torch.stack([images[name] for name in names])


@torch.no_grad()
def stimulus_features(extractor: FeatureExtractor, layer: str, stimuli: Tensor) -> Tensor:
    """Return features at a layer, shape (stimuli, *feature_shape), float32, on the CPU.

    Raises:
        ReadoutError: if they don't fit the memory.
    """
    found: list[Tensor] = []
    for some in torch.split(stimuli, BATCH):
        found.append(extractor.extract(some.to(extractor.mean), layer).float().cpu())
        if len(found) == 1:  # a quarter, because a fit needs as much again
            check_memory(found[0][0], len(stimuli), "stimuli", layer, "a quarter")
    return torch.cat(found)


def make_folds(count: int, folds: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Divide stimuli into folds at random.

    Args:
        count: Number of stimuli.
        folds: Number of folds, at least 2.
        seed: Seed of the division.

    Returns:
        Places of the stimuli outside and inside each fold.

    Raises:
        ReadoutError: if a fold would have fewer than :data:`LEAST`.
    """
    if count < LEAST * folds:
        raise ReadoutError(
            f"{count} stimuli are too few for {folds} folds of at least {LEAST}; give more, or fewer folds."
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(derive_seed("folds", seed)))
    parts = torch.tensor_split(order, folds)
    return [(torch.cat([*parts[:place], *parts[place + 1 :]]).sort().values, fold) for place, fold in enumerate(parts)]
