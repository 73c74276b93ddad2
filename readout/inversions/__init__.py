"""Reading an input back from a feature: each inversion is a LightningModule."""

from readout.inversions.base import FeatureInversion
from readout.inversions.batch import Outcome, ProblemBatch
from readout.inversions.image import ImageInversion
from readout.inversions.losses import FeatureLoss, MeanSquaredError
from readout.inversions.protocols import DiscrepancyProtocol, PaperProtocol, Protocol

__all__ = [
    "DiscrepancyProtocol",
    "FeatureInversion",
    "FeatureLoss",
    "ImageInversion",
    "MeanSquaredError",
    "Outcome",
    "PaperProtocol",
    "ProblemBatch",
    "Protocol",
]
