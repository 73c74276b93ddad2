"""Perturbations: rules that move a feature away from its clean value."""

from readout.perturbations.base import (
    CONSTANT,
    Departure,
    DirectedPerturbation,
    Origin,
    Perturbation,
    RowPerturbation,
    check_levels,
    noise_to_signal,
    unit,
)
from readout.perturbations.gaussian import GaussianPerturbation
from readout.perturbations.nearest_loss import NearestLoss
from readout.perturbations.residuals import ResidualPerturbation
from readout.perturbations.tangent import NormalPerturbation, TangentPerturbation
from readout.perturbations.toward import Toward
from readout.perturbations.unit_loss import UnitLoss

__all__ = [
    "CONSTANT",
    "Departure",
    "DirectedPerturbation",
    "GaussianPerturbation",
    "NearestLoss",
    "NormalPerturbation",
    "Origin",
    "Perturbation",
    "ResidualPerturbation",
    "RowPerturbation",
    "TangentPerturbation",
    "Toward",
    "UnitLoss",
    "check_levels",
    "noise_to_signal",
    "unit",
]
