"""Features from elsewhere: out of files, of one layer or several, in place of those that a perturbation moves."""

from readout.given.features import GivenFeatures, GivenProblem, unknown
from readout.given.joined import JoinedLayers, JoinedTextLayers, SumOverLayers, as_one_layer

__all__ = [
    "GivenFeatures",
    "GivenProblem",
    "JoinedLayers",
    "JoinedTextLayers",
    "SumOverLayers",
    "as_one_layer",
    "unknown",
]
