"""Tangent size: how far a feature can move in directions that a change of its input takes."""

from typing import Literal

from torch import Tensor

from readout.extractors import FeatureExtractor
from readout.perturbations import noise_to_signal
from readout.prediction.dimension import local_dimension
from readout.prediction.size import predict_size


def tangent_size(
    extractor: FeatureExtractor,
    layer: str,
    x: Tensor,
    threshold: float = 0.1,
    prior: Literal["natural", "none"] = "none",
) -> float:
    """Predict the representation size in noise within the range of the Jacobian.

    The optimal decoder of :func:`predict_size` ignores what is normal to the r-dimensional range. So noise of one
    variance does the same to it in all D dimensions and in these r alone, where it moves the feature less:
    (1 − c_tangent)⁻² − 1 = ((1 − c)⁻² − 1)·r/D. Like c, it is that of an optimal decoder of the linearised network,
    so that other readouts reach less.

    Args:
        extractor: The frozen network.
        layer: A layer name of the extractor.
        x: One input in the user's space, shape (*input_shape), no batch.
        threshold: t, in units of d_X.
        prior: See :func:`predict_size`. ``"none"`` is for errors that look like a change of the input, as a decoder's
            do, which no prior takes away.

    Raises:
        ReadoutError: as there.

    Examples:
        >>> import torch
        >>> from readout.extractors import OrthonormalLinear
        >>> x = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> abs(tangent_size(OrthonormalLinear((3, 8, 8), 4), "linear", x) - 0.1) < 0.01  # t
        True
    """
    size = predict_size(extractor, layer, x, threshold=threshold, prior=prior).size
    rank = local_dimension(extractor, layer, x, energy=1, probes=2).rank
    dimensions = extractor.extract(x.unsqueeze(0).to(extractor.mean), layer).numel()
    return float(1 - (1 + noise_to_signal(size) ** 2 * min(rank / dimensions, 1)) ** -0.5)
