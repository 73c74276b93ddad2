"""Sizes predicted from the network's Jacobian, without inversions."""

from readout.extractors.jacobian import Jacobian
from readout.prediction.dimension import LocalDimension, local_dimension, two_nn
from readout.prediction.gaussian import GaussianPrior, NaturalImages, NoPrior
from readout.prediction.size import PredictedSize, predict_size
from readout.prediction.table import prediction_table
from readout.prediction.tangent import tangent_size

__all__ = [
    "GaussianPrior",
    "Jacobian",
    "LocalDimension",
    "NaturalImages",
    "NoPrior",
    "PredictedSize",
    "local_dimension",
    "predict_size",
    "prediction_table",
    "tangent_size",
    "two_nn",
]
