from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from readout.common.errors import ReadoutError
from readout.data import Crops, Photographs
from readout.data.crops import FLAT

SHAPE = (60, 90)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image whose red is its row and whose green is its column, so that a crop says where it is from."""
    image = np.zeros((*SHAPE, 3), dtype=np.uint8)
    image[..., 0], image[..., 1] = 2 * np.arange(60)[:, None], 2 * np.arange(90)
    (tmp_path / "class").mkdir()
    Image.fromarray(image).save(tmp_path / "class" / "a.png")
    return tmp_path


def test_a_crop_is_the_same_however_many_there_are_and_whatever_was_read_before() -> None:
    few, many = Crops(count=2, size=16), Crops(count=5, size=16)
    assert torch.equal(many[1].input, few[1].input)
    assert torch.equal(many[4].input, Crops(count=5, size=16)[4].input)
    assert [sample.name for sample in few] == ["crop_00000", "crop_00001"]


def test_crops_differ_from_each_other_and_between_seeds() -> None:
    crops = [*Crops(count=4, size=8), *Crops(count=4, size=8, seed=1)]
    assert len({tuple(sample.input.flatten()[:8].tolist()) for sample in crops}) == 8


def test_crops_are_squares_of_all_sides_and_places(folder: Path) -> None:
    crops = [sample.input for sample in Crops(str(folder), count=200, size=16, smallest=20)]
    # the range of red and green over a crop, in pixels of the image, is its side but for the resizing at the edges
    height, width = (
        torch.stack([crop[channel].max() - crop[channel].min() for crop in crops]) * 255 / 2 for channel in (0, 1)
    )
    assert torch.allclose(height, width, atol=0.6)
    assert 18 < height.min() < 21
    assert 55 < height.max() < 60
    top, left = (torch.stack([crop[channel].min() for crop in crops]) * 255 / 2 for channel in (0, 1))
    assert top.min() < 2
    assert 35 < top.max() <= 41
    assert left.min() < 3
    assert 62 < left.max() <= 71


def test_a_small_image_is_cropped_to_its_short_side(folder: Path) -> None:
    crops = [sample.input for sample in Crops(str(folder), count=20, size=60, smallest=64)]
    rows = torch.arange(60).mul(2 / 255).unsqueeze(1).expand(60, 60)
    assert all(torch.allclose(crop[0], rows, atol=1e-6) for crop in crops)


def test_without_names_the_photographs_of_the_examples_are_left_out() -> None:
    assert set(Crops().sources).isdisjoint(Photographs().names)
    assert len(Crops().sources) == 12


def test_names_choose_the_photographs() -> None:
    whole = Photographs(["chelsea"], size=32)[0].input
    crop = Crops(names=["chelsea"], count=1, size=32)[0].input
    assert (crop.mean((1, 2)) - whole.mean((1, 2))).abs().max() < 0.2  # of that cat's colours
    assert Crops(names=["chelsea", "coffee"]).sources == ["chelsea", "coffee"]


def test_crops_without_contrast_are_drawn_again(tmp_path: Path) -> None:
    image = np.zeros((64, 64), dtype=np.uint8)
    image[:, 56:] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    assert all(sample.input.std() > FLAT for sample in Crops(str(tmp_path), count=30, size=8, smallest=8))
    Image.fromarray(image[:, :56]).save(tmp_path / "a.png")
    assert Crops(str(tmp_path), count=1, size=8)[0].input.std() == 0  # there is nothing else


@pytest.mark.parametrize("index", [2, -1])
def test_past_the_end_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError):
        Crops(count=2)[index]


def test_a_folder_and_names_are_one_sentence(folder: Path) -> None:
    with pytest.raises(ReadoutError, match="not both"):
        Crops(str(folder), names=["chelsea"])


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_images_is_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadoutError, match=r"no folder .* with images"):
        Crops(str(tmp_path / name))
