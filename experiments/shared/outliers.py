"""Inputs outside the training data of a classifier: rotated images, noisy images, letters, scenes."""

import string
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from readout.data import Crops, Sample
from readout.extractors.digit_net import SIDE
from readout.problems.identity import derive_seed

LETTERS = [letter for letter in string.ascii_uppercase + string.ascii_lowercase if letter not in "OoIlSsZzBbqg"]
"""Letters that do not look like a digit."""

FONTS = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif-Italic.ttf")
"""Fonts that come with Matplotlib."""


def rotated(sample: Sample) -> Sample:
    """Rotate an image by 90°, which interpolates no pixel."""
    return Sample(f"rotated_{sample.name}", torch.rot90(sample.input, dims=(1, 2)), sample.label)


def noisy(sample: Sample, std: float = 0.3) -> Sample:
    """Add Gaussian noise to every pixel and clip to [0, 1]."""
    generator = torch.Generator().manual_seed(derive_seed("noisy image", sample.name))
    noise = std * torch.randn(sample.input.shape, generator=generator)
    return Sample(f"noisy_{sample.name}", (sample.input + noise).clamp(0, 1), sample.label)


def letters(count: int) -> list[Sample]:
    """Draw letters at the digits' size and contrast, font by font.

    Raises:
        ValueError: if ``count`` exceeds letters × fonts.
    """
    if count > len(LETTERS) * len(FONTS):
        raise ValueError(f"there are {len(LETTERS) * len(FONTS)} letters")
    return [_letter(LETTERS[place % len(LETTERS)], FONTS[place // len(LETTERS)]) for place in range(count)]


def scenes(count: int) -> list[Sample]:
    """Return crops of photographs without an animal or a vehicle, at CIFAR-10's size."""
    return list(Crops(names=["china", "flower", "retina", "hubble_deep_field"], count=count, size=32))


def _letter(letter: str, font: str) -> Sample:
    """Draw a large letter, crop it and average it to 8 × 8 pixels, as scikit-learn's digits were made, maximum 1."""
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
