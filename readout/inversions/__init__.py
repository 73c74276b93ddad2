"""Inversions: LightningModules that recover inputs from features, and their parts."""

from readout.inversions.base import FeatureInversion
from readout.inversions.batch import Outcome, ProblemBatch
from readout.inversions.image import ImageInversion
from readout.inversions.losses import FeatureLoss, MeanSquaredError, MeanSquaredErrorAndCosine
from readout.inversions.protocols import DiscrepancyProtocol, FastProtocol, PaperProtocol, Protocol, TokenByToken
from readout.inversions.text import TextInversion
from readout.inversions.token_search import TokenSearch

__all__ = [
    "DiscrepancyProtocol",
    "FastProtocol",
    "FeatureInversion",
    "FeatureLoss",
    "ImageInversion",
    "MeanSquaredError",
    "MeanSquaredErrorAndCosine",
    "Outcome",
    "PaperProtocol",
    "ProblemBatch",
    "Protocol",
    "TextInversion",
    "TokenByToken",
    "TokenSearch",
]
