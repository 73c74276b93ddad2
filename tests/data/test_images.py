import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from readout.common.errors import ReadoutError
from readout.data.images import from_array, from_picture, is_image, read_image, resize_and_crop, to_pixels, write_png
from tests.helpers import damaged


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


@pytest.mark.parametrize(
    "mode", ["RGB", "RGBA", "RGBX", "RGBa", "L", "LA", "La", "P", "PA", "1", "CMYK", "YCbCr", "HSV"]
)
def test_images_of_every_mode_are_rgb(mode: str) -> None:
    over = {"La": "LA", "RGBa": "RGBA"}.get(mode, "RGB")
    white = Image.new("RGB", (5, 4), "white").convert(over).convert(mode)
    assert torch.equal(from_picture(white, "white"), torch.ones(3, 4, 5))


def saved(picture: Image.Image, kind: str, **more: Any) -> Image.Image:
    """What is opened, not loaded yet, of a file of some kind."""
    file = io.BytesIO()
    picture.save(file, kind, **more)
    return Image.open(io.BytesIO(file.getvalue()))


def png(bits: int, colour_type: int, row: bytes, key: bytes) -> Image.Image:
    """A PNG of one row, with a transparent colour, of depths that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, bits, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), (b"tRNS", key), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)))


def palette(mode: str) -> Image.Image:
    """Black, a hidden red, yellow."""
    picture = Image.new(mode, (3, 1))
    picture.putpalette([0, 0, 0, 250, 20, 30, 250, 255, 0])
    for place in range(3):
        picture.putpixel((place, 0), place if mode == "P" else (place, 0 if place == 1 else 255))
    return picture


RGBA = np.array([[[0, 0, 0, 255], [250, 20, 30, 0], [250, 255, 0, 255]]], dtype=np.uint8)
RED_IS_WHITE = [[0, 0, 0], [1, 1, 1], [250 / 255, 1, 0]]
GREY = np.array([[10, 20, 30]], dtype=np.uint8)
TWENTY_IS_WHITE = [[10 / 255] * 3, [1, 1, 1], [30 / 255] * 3]
HALF = Image.fromarray(np.array([[[200, 100, 0, 51]]], dtype=np.uint8))
OVER_WHITE = [[(200 * 0.2 + 255 * 0.8) / 255, (100 * 0.2 + 255 * 0.8) / 255, 0.8]]
GREY_16 = Image.fromarray(np.array([[0, 257 * 20, 65535]], dtype=np.uint16))


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(RGBA), RED_IS_WHITE),
        (Image.fromarray(RGBA).convert("RGBa"), RED_IS_WHITE),
        (saved(Image.fromarray(RGBA), "PNG"), RED_IS_WHITE),
        (saved(Image.fromarray(RGBA), "TIFF"), RED_IS_WHITE),
        (saved(Image.fromarray(RGBA), "WEBP", lossless=True, exact=True), RED_IS_WHITE),
        (saved(Image.fromarray(RGBA[..., :3]), "PNG", transparency=(250, 20, 30)), RED_IS_WHITE),
        (palette("PA"), RED_IS_WHITE),
        (saved(palette("P"), "PNG", transparency=1), RED_IS_WHITE),
        (saved(palette("P"), "PNG", transparency=b"\xff\0"), RED_IS_WHITE),
        (saved(palette("P"), "GIF", transparency=1), RED_IS_WHITE),
        (saved(Image.fromarray(GREY), "PNG", transparency=20), TWENTY_IS_WHITE),
        (Image.fromarray(np.stack([GREY, 255 * (GREY != 20).astype(np.uint8)], -1)), TWENTY_IS_WHITE),
        (saved(GREY_16, "PNG", transparency=257 * 20), [[0] * 3, [1] * 3, [1] * 3]),
        (HALF, OVER_WHITE),
        (saved(HALF, "PNG"), OVER_WHITE),
    ],
)
def test_what_is_transparent_lies_on_white(picture: Image.Image, expected: list[list[float]]) -> None:
    image = from_picture(picture, "a")
    torch.testing.assert_close(image, torch.tensor(expected, dtype=torch.float32).T[:, None], rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_alpha_that_is_opaque_changes_no_bit(mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    plain = Image.fromarray(pixels).quantize(30) if mode == "P" else Image.fromarray(pixels)
    opaque = saved(plain, "PNG", transparency=b"\xff" * 9) if mode == "P" else saved(plain.convert("RGBA"), "PNG")
    expected = torch.from_numpy(np.array(plain.convert("RGB"))).permute(2, 0, 1).float() / 255
    assert torch.equal(from_picture(opaque, "a"), expected)


def test_a_transparent_colour_that_pillow_does_not_read() -> None:
    for picture in (png(2, 0, b"\x40", b"\0\1"), png(16, 2, bytes(12), bytes(6))):
        with pytest.raises(ReadoutError, match="alpha channel"):
            from_picture(picture, "a")


GREYS = np.array([[0, 100, 4000]])


@pytest.mark.parametrize(
    ("picture", "white"),
    [
        (Image.fromarray(GREYS.astype(np.uint16)), 65535),
        (Image.fromarray(GREYS.astype(">u2")), 65535),
        (saved(Image.fromarray(GREYS.astype(np.uint16)), "PNG"), 65535),
        (saved(Image.fromarray(GREYS.astype(np.uint16)), "TIFF"), 65535),
        (saved(Image.fromarray(GREYS.astype(np.uint16)), "PPM"), 65535),
        (Image.open(io.BytesIO(b"P5 3 1 4095\n" + GREYS.astype(">u2").tobytes())), 4095),
        (Image.fromarray((GREYS / 4000).astype(np.float32)), 4000),
        (saved(Image.fromarray((GREYS / 4000).astype(np.float32)), "TIFF"), 4000),
    ],
)
def test_greys_of_more_than_8_bits_are_scaled_and_not_cut(picture: Image.Image, white: int) -> None:
    expected = torch.from_numpy(GREYS / white).float().expand(3, 1, 3)
    torch.testing.assert_close(from_picture(picture, "a"), expected, rtol=0, atol=1e-5)


def test_16_bit_tiff_whose_0_is_white() -> None:
    picture = saved(Image.fromarray(GREYS.astype(np.uint16)), "TIFF", tiffinfo={262: 0})
    expected = torch.from_numpy(1 - GREYS / 65535).float().expand(3, 1, 3)
    torch.testing.assert_close(from_picture(picture, "a"), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, 255]], dtype=np.int32), "32-bit greys, whose white is not defined"),
        (np.array([[0, 255]], dtype=np.float32), "values from 0 to 255; scale them"),
        (np.array([[0, -0.5]], dtype=np.float32), r"values from -0\.5 to 0"),
        (np.array([[0, np.nan]], dtype=np.float32), "nan"),
    ],
)
def test_greys_whose_white_is_not_known_are_refused(values: NDArray[Any], words: str) -> None:
    for picture in (Image.fromarray(values), saved(Image.fromarray(values), "TIFF")):
        with pytest.raises(ReadoutError, match=words):
            from_picture(picture, "a")


UPRIGHT = np.array([[0, 255, 0], [0, 0, 0]])
"""What a camera saw; what it stored when held as EXIF says, by the definition of the tag: row 0 is the top, …"""
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    blocks = np.kron(STORED[orientation], np.ones((16, 16))).astype(np.uint8)  # so that JPEG keeps them apart
    picture = saved(Image.fromarray(blocks), kind, exif=exif)
    expected = torch.from_numpy(np.kron(UPRIGHT / 255, np.ones((16, 16)))).float().expand(3, 32, 48)
    torch.testing.assert_close(from_picture(picture, "a"), expected, rtol=0, atol=0.02)


def test_exif_that_cannot_be_parsed_gives_no_orientation() -> None:
    picture = saved(Image.fromarray(GREY), "JPEG", exif=b"Exif\0\0not EXIF")
    assert from_picture(picture, "a").shape == (3, 1, 3)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("L", (3, 2), value) for value in (40, 90)]
    picture = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    torch.testing.assert_close(from_picture(picture, "a"), torch.full((3, 2, 3), 40 / 255))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 255]], dtype=np.uint8), [[0] * 3, [1] * 3]),
        (np.array([[0, 13107]], dtype=np.uint16), [[0] * 3, [0.2] * 3]),
        (np.array([[False, True]]), [[0] * 3, [1] * 3]),
        (np.array([[[0.5], [1]]]), [[0.5] * 3, [1] * 3]),
        (np.array([[[0.5, 0, 1], [0, 0, 0.25]]], dtype=np.float32), [[0.5, 0, 1], [0, 0, 0.25]]),
        (np.array([[[0.5, 0, 1, 0.5], [0, 0, 0, 0]]]), [[0.75, 0.5, 1], [1, 1, 1]]),
    ],
)
def test_arrays_are_scaled_by_their_type(array: NDArray[Any], expected: list[list[float]]) -> None:
    torch.testing.assert_close(
        from_array(array), torch.tensor(expected, dtype=torch.float32).T[:, None], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 4, 5)), r"shape \(3, 4, 5\); pass \(height, width\)"),
        (np.zeros((0, 4)), "shape"),
        (np.zeros(4), "shape"),
        (np.zeros((4, 4), dtype=np.int64), "int64 values; pass uint8"),
        (np.full((4, 4), 255.0), "from 255 to 255"),
        (np.full((4, 4), np.inf), "from inf to inf"),
        (np.full((4, 4), "a"), "pass uint8"),
    ],
)
def test_arrays_that_are_no_images(array: NDArray[Any], words: str) -> None:
    with pytest.raises(ReadoutError, match=words):
        from_array(array)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000", "DDS", "AVIF", "ICO", "TGA"])
def test_damaged_files_are_one_sentence(kind: str, tmp_path: Path) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow has no {kind}")
    generator = np.random.default_rng(0)
    picture, file = Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)), io.BytesIO()
    picture.save(file, kind)
    sentences = []
    for _ in range(30):
        (tmp_path / "a.png").write_bytes(damaged(file.getvalue(), generator))
        try:
            read_image(tmp_path / "a.png")
        except ReadoutError as error:
            sentences.append(str(error))
    assert sentences
    assert all("a.png" in sentence and "\n" not in sentence for sentence in sentences)


def test_pictures_over_the_pixel_limit_are_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Image.new("L", (10, 10)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(ReadoutError, match=r"a\.png.*exceeds limit"):
        read_image(tmp_path / "a.png")


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
