"""readout: how far can a network's feature move before its input is lost?

Implements "Readout Representation: Redefining Neural Codes by Input Recovery" (Onoo, Nagano &
Kamitani, arXiv 2510.12228) on PyTorch Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from readout.prediction import predict_size
    from readout.store import load_results

__version__ = "0.1.0"
__all__ = ["__version__", "load_results", "predict_size"]

_HOME = {"load_results": "readout.store", "predict_size": "readout.prediction"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``--help`` is quick."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
