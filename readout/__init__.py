"""readout: how far can a network's feature move before its input is lost?

Implements "Readout Representation: Redefining Neural Codes by Input Recovery" (Onoo, Nagano &
Kamitani, arXiv 2510.12228) on PyTorch Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from readout.version import __version__

if TYPE_CHECKING:
    from readout import plot
    from readout.measurement import Measurement, measure
    from readout.prediction import local_dimension, predict_size, two_nn
    from readout.store import load_results

__all__ = [
    "Measurement",
    "__version__",
    "load_results",
    "local_dimension",
    "measure",
    "plot",
    "predict_size",
    "two_nn",
]

_HOME = {
    "Measurement": "readout.measurement",
    "load_results": "readout.store",
    "local_dimension": "readout.prediction",
    "measure": "readout.measurement",
    "predict_size": "readout.prediction",
    "two_nn": "readout.prediction",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``--help`` is quick."""
    if name == "plot":
        return import_module("readout.plot")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
