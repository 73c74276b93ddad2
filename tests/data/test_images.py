import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from PIL import Image

from readout.data.images import from_array, is_image, read_image, resize_and_crop, to_pixels, write_png
from readout.errors import ReadoutError


@budget(deadline=None, max_examples=50)
@given(height=st.integers(1, 60), width=st.integers(1, 60), size=st.integers(1, 40), value=st.floats(0, 1, width=32))
def test_any_image_becomes_a_square_and_a_constant_one_stays_as_it_is(
    height: int, width: int, size: int, value: float
) -> None:
    resized = resize_and_crop(torch.full((3, height, width), value), size)
    torch.testing.assert_close(resized, torch.full((3, size, size), value), rtol=0, atol=1e-5)


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(resize_and_crop(image, 16), image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("wide", [True, False])
def test_an_image_whose_shorter_side_fits_is_only_cropped_at_the_centre(wide: bool) -> None:
    image = torch.rand(3, 16, 30, generator=torch.Generator().manual_seed(0))
    cropped = resize_and_crop(image if wide else image.transpose(1, 2), 16)
    torch.testing.assert_close(cropped if wide else cropped.transpose(1, 2), image[:, :, 7:23], rtol=0, atol=1e-6)


def test_the_aspect_is_kept() -> None:
    # a ramp along the longer side keeps its slope per shorter side
    ramp = ((torch.arange(80) + 0.5) / 80).expand(3, 40, 80)
    resized = resize_and_crop(ramp, 20)
    expected = ((torch.arange(40) + 0.5) / 40)[10:30].expand(3, 20, 20)
    torch.testing.assert_close(resized, expected, rtol=0, atol=1e-5)


def test_shrinking_averages_and_does_not_alias() -> None:
    stripes = (torch.arange(72) % 2).float().expand(3, 72, 72)
    # away from the edges the average of many stripes is a half, while every ninth pixel is 0 or 1
    torch.testing.assert_close(resize_and_crop(stripes, 8)[:, :, 1:-1], torch.full((3, 8, 6), 0.5), rtol=0, atol=0.02)


def test_values_stay_in_0_to_1() -> None:
    image = torch.rand(3, 37, 53, generator=torch.Generator().manual_seed(0)).round()
    for size in (11, 37, 90):
        assert 0 <= resize_and_crop(image, size).min() <= resize_and_crop(image, size).max() <= 1


def test_bytes_become_floats_with_the_channels_first() -> None:
    array = np.zeros((2, 3, 3), dtype=np.uint8)
    array[1, 2] = (255, 51, 0)
    image = from_array(array)
    assert image.shape == (3, 2, 3)
    assert image[:, 1, 2].tolist() == pytest.approx([1, 0.2, 0])
    assert image.sum().item() == pytest.approx(1.2)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_images_of_every_mode_are_read_as_rgb(mode: str, tmp_path: Path) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert torch.equal(image, torch.ones(3, 4, 5))


def test_16_bit_grey_values_are_scaled_and_not_cut(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = torch.from_numpy(values / 65535).float().expand(3, 8, 8)
    torch.testing.assert_close(read_image(tmp_path / "a.png"), expected, rtol=0, atol=1 / 255)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match=r"nowhere\.png' can't be read as an image"):
        read_image(tmp_path / "nowhere.png")


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_bytes_come_back_to_the_bit(channels: int, tmp_path: Path) -> None:
    image = torch.arange(256).float().div(255).view(1, 16, 16).repeat(channels, 1, 1)
    write_png(image, tmp_path / "a.png")
    assert torch.equal(read_image(tmp_path / "a.png"), image.expand(3, -1, -1))
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (16, 16))


def test_rows_of_a_picture_are_rows_of_the_image(tmp_path: Path) -> None:
    image = torch.zeros(3, 2, 3)
    image[0, 0, 2] = 1.0
    write_png(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (3, 2)
        assert picture.getpixel((2, 0)) == (255, 0, 0)


def test_values_outside_0_to_1_are_clipped_and_others_rounded() -> None:
    image = torch.tensor([-0.5, 0.0, 0.5 / 255 + 1e-4, 0.999, 1.5, math.nan]).view(1, 1, 6)
    assert to_pixels(image)[0, :, 0].tolist() == [0, 0, 1, 255, 255, 0]


def test_images_have_one_or_three_channels() -> None:
    assert is_image(torch.zeros(3, 4, 4))
    assert is_image(torch.zeros(1, 4, 4))
    assert not is_image(torch.zeros(2, 4, 4))
    assert not is_image(torch.zeros(3, 4))
    assert not is_image(torch.zeros(1, 3, 4, 4))
