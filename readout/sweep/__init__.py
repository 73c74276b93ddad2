"""The driver: options → plan → batches → store → sizes."""

from readout.sweep.sweep import Sweep

__all__ = ["Sweep"]
