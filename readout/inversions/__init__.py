"""Reading an input back from a feature: each inversion is a LightningModule."""

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
