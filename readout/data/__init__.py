"""Where inputs come from."""

from readout.data.base import InputData, Sample, load_samples
from readout.data.folder import ImageFolder
from readout.data.noise import GaussianNoise, UniformNoise
from readout.data.photographs import Photographs
from readout.data.scrambled import PhaseScrambled, PixelShuffled

__all__ = [
    "GaussianNoise",
    "ImageFolder",
    "InputData",
    "PhaseScrambled",
    "Photographs",
    "PixelShuffled",
    "Sample",
    "UniformNoise",
    "load_samples",
]
