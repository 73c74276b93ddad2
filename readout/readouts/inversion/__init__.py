"""Inversions: readouts that optimise an input until its feature is the target, and their parts."""

from readout.readouts.inversion.base import FeatureInversion
from readout.readouts.inversion.image import ImageInversion
from readout.readouts.inversion.lbfgs import BatchedLBFGS
from readout.readouts.inversion.protocols import (
    DiscrepancyProtocol,
    FastProtocol,
    LastIteration,
    PaperProtocol,
    Protocol,
    TokenByToken,
)
from readout.readouts.inversion.text import TextInversion

__all__ = [
    "BatchedLBFGS",
    "DiscrepancyProtocol",
    "FastProtocol",
    "FeatureInversion",
    "ImageInversion",
    "LastIteration",
    "PaperProtocol",
    "Protocol",
    "TextInversion",
    "TokenByToken",
]
