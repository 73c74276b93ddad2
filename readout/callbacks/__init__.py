"""What is watched and logged while a sweep runs."""

from readout.callbacks.base import LayerResults, SweepCallback
from readout.callbacks.problem_table import ProblemTable
from readout.callbacks.progress import SweepProgress
from readout.callbacks.reconstructions import Reconstructions
from readout.callbacks.recovery_curve import RecoveryCurve

__all__ = [
    "LayerResults",
    "ProblemTable",
    "Reconstructions",
    "RecoveryCurve",
    "SweepCallback",
    "SweepProgress",
]
