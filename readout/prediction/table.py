"""Predictions as a table, to be laid beside results."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from readout.extractors import FeatureExtractor
from readout.prediction.size import predict_size


def prediction_table(
    extractor: FeatureExtractor, layers: Sequence[str], inputs: Mapping[str, Tensor], **kwargs: Any
) -> pd.DataFrame:
    """Predicted curves and sizes of several inputs at several layers.

    Args:
        extractor: The frozen network.
        layers: Layer names of the extractor.
        inputs: One input each by sample name, shape (*input_shape).
        kwargs: As for :func:`readout.prediction.predict_size`.

    Returns:
        One row a (layer, sample, level), with columns ``layer, sample, level, predicted_distance, standard_error,
        predicted_size, censored, converged, iterations, seconds``; the last five are those of the whole curve.
    """
    rows = []
    for layer in layers:
        for sample, x in inputs.items():
            found = predict_size(extractor, layer, x, **kwargs)
            whole = {
                "predicted_size": found.size,
                "censored": found.censored,
                "converged": found.converged,
                "iterations": found.iterations,
                "seconds": found.seconds,
            }
            curve = zip(found.levels, found.distances, found.standard_errors, strict=True)
            for level, distance, error in curve:
                point = {"level": level, "predicted_distance": distance, "standard_error": error}
                rows.append({"layer": layer, "sample": sample, **point, **whole})
    return pd.DataFrame(rows)
