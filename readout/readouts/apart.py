"""Inputs to learn from, which are apart from those to be read."""

from collections.abc import Sequence

from torch import Tensor

from readout.common.errors import ReadoutError
from readout.data import InputData, Samples, load_samples
from readout.extractors import FeatureExtractor
from readout.problems.identity import digest


def load_apart(
    data: InputData,
    called: str,
    least: int,
    extractor: FeatureExtractor,
    samples: Samples,
    shape: Sequence[int] | None,
) -> tuple[Tensor, str]:
    """Load inputs to learn from.

    Args:
        data: The inputs.
        called: Their name in a configuration.
        least: Fewest of them.
        extractor: The frozen network.
        samples: Inputs to be read, as far as they are known.
        shape: Shape of those; None for texts.

    Returns:
        Inputs of shape (inputs, *input_shape), in an order that follows from their values, and a digest of them all.

    Raises:
        ReadoutError: if there are too few, they have another shape than the inputs to be read, or one of those is among
            them.
    """
    known = load_samples(data, extractor)
    # in an order that follows from the inputs, because what is learnt follows from it
    digests = dict(sorted((metadata.digest, name) for name, metadata in known.metadata.items()))
    if len(digests) < least:
        raise ReadoutError(f"{called} has {len(digests)} inputs, too few to train on; give at least {least}.")
    inputs = known.stack(digests.values())
    if shape is not None and tuple(shape) != inputs.shape[1:]:
        own, wanted = ("×".join(map(str, each)) for each in (inputs.shape[1:], shape))
        raise ReadoutError(f"{called} has inputs of {own}, but those to be read are {wanted}; set its size.")
    for name, metadata in samples.metadata.items():
        if (same := digests.get(metadata.digest)) is not None:
            raise ReadoutError(
                f"Input {name!r} is also in {called}, as {same!r}; take it out, so that nothing is read by a readout "
                "that was trained on it."
            )
    return inputs, digest(list(digests))
