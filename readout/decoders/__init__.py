"""Trained decoders: from perturbed features back to inputs, in one pass."""

from readout.decoders.base import Training
from readout.decoders.network import DecoderNetwork
from readout.decoders.noise import noise_variance
from readout.decoders.ridge import Ridge, fit_ridge
from readout.decoders.training import DecoderTraining

__all__ = ["DecoderNetwork", "DecoderTraining", "Ridge", "Training", "fit_ridge", "noise_variance"]
