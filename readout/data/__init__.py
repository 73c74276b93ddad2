"""Where inputs come from."""

from readout.data.base import InputData, Sample, load_inputs
from readout.data.folder import ImageFolder
from readout.data.noise import UniformNoise
from readout.data.photographs import Photographs

__all__ = ["ImageFolder", "InputData", "Photographs", "Sample", "UniformNoise", "load_inputs"]
