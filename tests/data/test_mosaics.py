import pytest
import torch

from readout.common.errors import ReadoutError
from readout.data import InputData, Mosaics, Sample, UniformNoise


class Greys(InputData):
    """Image number i is grey of value i / 10."""

    def __init__(self, shape: tuple[int, ...] = (3, 4, 6)) -> None:
        super().__init__()
        self.shape = shape

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Sample:
        return Sample(str(index), torch.full(self.shape, index / 10))


def test_a_mosaic_is_whole_images_side_by_side_cut_at_its_edge() -> None:
    image = Mosaics(Greys(), count=1, size=16)[0].input
    assert image.shape == (3, 16, 16)
    seen = set()
    for top in range(0, 16, 4):
        for left in range(0, 16, 6):
            tile = image[:, top : top + 4, left : left + 6]
            assert (tile == tile.flatten()[0]).all()
            seen.add(round(float(tile.flatten()[0]), 1))
    assert len(seen) > 4
    assert seen <= {index / 10 for index in range(10)}


def test_a_mosaic_is_the_same_however_many_there_are() -> None:
    source = UniformNoise(count=20, shape=(3, 4, 4))
    few, many = Mosaics(source, count=2, size=8), Mosaics(source, count=5, size=8)
    assert torch.equal(few[1].input, many[1].input)
    assert [sample.name for sample in few] == ["mosaic_00000", "mosaic_00001"]
    others = [*many, *Mosaics(source, count=5, size=8, seed=1)]
    assert len({tuple(sample.input[0, 0].tolist()) for sample in others}) > 8


def test_all_images_of_the_source_occur() -> None:
    data = Mosaics(Greys((3, 4, 4)), count=10, size=8)
    assert {round(float(value), 1) for sample in data for value in sample.input.unique()} == {i / 10 for i in range(10)}


@pytest.mark.parametrize("index", [2, -1])
def test_past_the_end_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError):
        Mosaics(Greys(), count=2)[index]


def test_a_source_of_something_else_is_one_sentence() -> None:
    with pytest.raises(ReadoutError, match="choose a source of images"):
        Mosaics(Greys((5,)), count=1)[0]
