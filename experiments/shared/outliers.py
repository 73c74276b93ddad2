"""Inputs that a network of digits was not made for: digits turned, noisy digits, letters."""

import string
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from experiments.shared.digits import SIDE
from readout.data import Sample
from readout.problems.identity import derive_seed

LETTERS = [letter for letter in string.ascii_uppercase + string.ascii_lowercase if letter not in "OoIlSsZzBbqg"]
"""Those that don't pass for a digit."""

FONTS = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif-Italic.ttf")
"""Among those that come with matplotlib."""


def rotated(sample: Sample) -> Sample:
    """Turned by a quarter: the same pixels, none of them interpolated."""
    return Sample(f"rotated_{sample.name}", torch.rot90(sample.input, dims=(1, 2)), sample.label)


def noisy(sample: Sample, std: float = 0.3) -> Sample:
    """With Gaussian noise on every pixel, clipped to [0, 1]."""
    generator = torch.Generator().manual_seed(derive_seed("noisy digit", sample.name))
    noise = std * torch.randn(sample.input.shape, generator=generator)
    return Sample(f"noisy_{sample.name}", (sample.input + noise).clamp(0, 1), sample.label)


def letters(count: int) -> list[Sample]:
    """Printed letters at the digits' size and contrast, font by font.

    Raises:
        ValueError: if so many letters are not to be had.
    """
    if count > len(LETTERS) * len(FONTS):
        raise ValueError(f"there are {len(LETTERS) * len(FONTS)} letters")
    return [_letter(LETTERS[place % len(LETTERS)], FONTS[place // len(LETTERS)]) for place in range(count)]


def _letter(letter: str, font: str) -> Sample:
    """Drawn large, cropped to its ink, averaged down to 8 × 8 as scikit-learn's digits were, its darkest pixel at 1."""
    large = ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / font), 96)
    canvas = Image.new("L", (192, 192))
    ImageDraw.Draw(canvas).text((48, 40), letter, fill=255, font=large)
    ink = canvas.crop(canvas.getbbox())
    side = max(ink.size)
    square = Image.new("L", (side, side))
    square.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
    pixels = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
    return Sample(
        f"letter_{Path(font).stem}_{ord(letter):03d}", torch.from_numpy(pixels / pixels.max()).unsqueeze(0), letter
    )
