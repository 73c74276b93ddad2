import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from readout.common.errors import ReadoutError
from readout.data.images import resize_and_crop
from readout.data.in_memory import as_data


def test_pictures_in_lists_are_what_files_of_them_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    alpha = torch.from_numpy(pixels[..., 3:]).float() / 255
    over_white = torch.from_numpy(pixels[..., :3]).float() / 255 * alpha + 1 - alpha
    expected = resize_and_crop(over_white.permute(2, 0, 1), 6)
    images: list[Any] = [picture, tmp_path / "a.png", pixels, over_white.permute(2, 0, 1), over_white.numpy()]
    for sample in as_data(images, 6):
        torch.testing.assert_close(sample.input, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((3, 8, 8), dtype=np.uint8), r"image_000 has shape \(3, 8, 8\); pass \(height, width\)"),
        (torch.zeros(8, 8, 3), r"tensor of shape \(8, 8, 3\); pass \(1 or 3, height, width\)"),
        (torch.full((3, 8, 8), 255.0), "values from 255 to 255; scale them"),
        (np.zeros((8, 8, 3), dtype=np.int64), "int64 values"),
        ({"a": 1}, "is a dict; pass PIL images, paths, arrays or tensors"),
    ],
)
def test_what_in_a_list_is_no_picture(image: Any, words: str) -> None:
    with pytest.raises(ReadoutError, match=words):
        as_data([image], 8)


def test_a_truncated_picture_in_a_list_is_one_sentence() -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(file, "PNG")
    picture = Image.open(io.BytesIO(file.getvalue()[:2000]))
    with pytest.raises(ReadoutError, match="image_000 can't be read as an image"):
        as_data([picture], 8)
