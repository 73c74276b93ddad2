"""Callbacks that log curves, tables and pictures while a sweep runs."""

from readout.callbacks.base import LayerResults, OpenRun, SweepCallback, SweepResults
from readout.callbacks.problem_table import ProblemTable
from readout.callbacks.reconstructions import Reconstructions
from readout.callbacks.recovery_curve import RecoveryCurve
from readout.callbacks.size_by_layer import SizeByLayer

__all__ = [
    "LayerResults",
    "OpenRun",
    "ProblemTable",
    "Reconstructions",
    "RecoveryCurve",
    "SizeByLayer",
    "SweepCallback",
    "SweepResults",
]
