"""Predictions as a table, for comparison with results."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from readout.extractors import FeatureExtractor
from readout.prediction.dimension import local_dimension
from readout.prediction.size import predict_size


def prediction_table(
    extractor: FeatureExtractor,
    layers: Sequence[str],
    inputs: Mapping[str, Tensor],
    dimension: bool = False,
    **kwargs: Any,
) -> pd.DataFrame:
    """Predict curves and sizes of several inputs at several layers.

    Args:
        extractor: The frozen network.
        layers: Layer names of the extractor.
        inputs: Inputs by sample name, each of shape (*input_shape).
        dimension: Whether to measure the dimension of each feature too, in about the same time.
        kwargs: Further arguments of :func:`readout.prediction.predict_size`.

    Returns:
        One row per (layer, sample, level), with columns ``layer, sample, level, predicted_distance, standard_error,
        predicted_size, censored, converged, iterations, seconds`` and, if asked, ``participation_ratio``, of
        :func:`readout.prediction.local_dimension`; all but the first five describe the whole curve.

    Examples:
        >>> import torch
        >>> from readout.extractors import OrthonormalLinear
        >>> table = prediction_table(OrthonormalLinear(), ["linear"], {"a": torch.rand(3, 16, 16)}, levels=[0.2, 0.5])
        >>> table[["layer", "sample", "level"]]
            layer sample  level
        0  linear      a    0.2
        1  linear      a    0.5
    """
    rows = []
    for layer in layers:
        for sample, x in inputs.items():
            found = predict_size(extractor, layer, x, **kwargs)
            of_curve = {
                "predicted_size": found.size,
                "censored": found.censored,
                "converged": found.converged,
                "iterations": found.iterations,
                "seconds": found.seconds,
            }
            if dimension:
                of_curve["participation_ratio"] = local_dimension(extractor, layer, x).participation_ratio
            curve = zip(found.levels, found.distances, found.standard_errors, strict=True)
            for level, distance, error in curve:
                point = {"level": level, "predicted_distance": distance, "standard_error": error}
                rows.append({"layer": layer, "sample": sample, **point, **of_curve})
    return pd.DataFrame(rows)
