"""Trained decoders: from perturbed features back to inputs, in one pass."""

from readout.decoders.base import Training
from readout.decoders.noise import noise_variance
from readout.decoders.ridge import Ridge, fit_ridge

__all__ = ["Ridge", "Training", "fit_ridge", "noise_variance"]
