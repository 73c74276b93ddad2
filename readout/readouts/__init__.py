"""Readouts: LightningModules that read signals from features, and their parts."""

from readout.readouts.base import Readout
from readout.readouts.batch import Outcome, ProblemBatch
from readout.readouts.class_readout import ClassReadout
from readout.readouts.code_readout import CodeReadout
from readout.readouts.identification import Identification
from readout.readouts.inversion import (
    BatchedLBFGS,
    DiscrepancyProtocol,
    FastProtocol,
    FeatureInversion,
    ImageInversion,
    LastIteration,
    PaperProtocol,
    Protocol,
    TextInversion,
    TokenByToken,
)
from readout.readouts.layer_codes import LayerCodes
from readout.readouts.linear_decoder import LinearDecoder
from readout.readouts.losses import FeatureLoss, MeanSquaredError, MeanSquaredErrorAndCosine, RelativeSquaredError
from readout.readouts.one_pass import OnePassReadout
from readout.readouts.refined import RefinedInversion
from readout.readouts.token_search import TokenSearch
from readout.readouts.trained import TrainedReadout
from readout.readouts.trained_decoder import TrainedDecoder
from readout.readouts.whitened_error import WhitenedError

__all__ = [
    "BatchedLBFGS",
    "ClassReadout",
    "CodeReadout",
    "DiscrepancyProtocol",
    "FastProtocol",
    "FeatureInversion",
    "FeatureLoss",
    "Identification",
    "ImageInversion",
    "LastIteration",
    "LayerCodes",
    "LinearDecoder",
    "MeanSquaredError",
    "MeanSquaredErrorAndCosine",
    "OnePassReadout",
    "Outcome",
    "PaperProtocol",
    "ProblemBatch",
    "Protocol",
    "Readout",
    "RefinedInversion",
    "RelativeSquaredError",
    "TextInversion",
    "TokenByToken",
    "TokenSearch",
    "TrainedDecoder",
    "TrainedReadout",
    "WhitenedError",
]
