"""Features from elsewhere: out of files, of one layer or several, in place of those that a perturbation moves."""

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
