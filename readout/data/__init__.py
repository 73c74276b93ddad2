"""Inputs: images and texts."""

from readout.data.base import InputData, Sample
from readout.data.c4 import C4
from readout.data.crops import Crops
from readout.data.digits import Digits
from readout.data.folder import ImageFolder
from readout.data.joined import Joined
from readout.data.mosaics import Mosaics
from readout.data.noise import GaussianNoise, UniformNoise
from readout.data.photographs import Photographs
from readout.data.sample_text import SampleText
from readout.data.samples import Metadata, Samples, load_samples
from readout.data.scrambled import PhaseScrambled, PixelShuffled
from readout.data.text_files import TextFiles
from readout.data.texts import TextData

__all__ = [
    "C4",
    "Crops",
    "Digits",
    "GaussianNoise",
    "ImageFolder",
    "InputData",
    "Joined",
    "Metadata",
    "Mosaics",
    "PhaseScrambled",
    "Photographs",
    "PixelShuffled",
    "Sample",
    "SampleText",
    "Samples",
    "TextData",
    "TextFiles",
    "UniformNoise",
    "load_samples",
]
