"""External features: read from files, of one layer or several, in place of perturbed ones."""

from readout.external.features import ExternalFeatures, ExternalProblem, unknown
from readout.external.joined import JoinedLayers, JoinedTextLayers, SumOverLayers, as_one_layer

__all__ = [
    "ExternalFeatures",
    "ExternalProblem",
    "JoinedLayers",
    "JoinedTextLayers",
    "SumOverLayers",
    "as_one_layer",
    "unknown",
]
