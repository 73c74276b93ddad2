"""Perturbations: rules that move a feature away from its clean value."""

from readout.perturbations.base import CONSTANT, Perturbation, check_levels
from readout.perturbations.gaussian import GaussianPerturbation, noise_to_signal

__all__ = ["CONSTANT", "GaussianPerturbation", "Perturbation", "check_levels", "noise_to_signal"]
