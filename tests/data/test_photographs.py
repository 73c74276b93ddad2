import socket

import pytest
import torch

from readout.common.errors import ReadoutError
from readout.data import Photographs
from readout.data.photographs import NAMES, SCIKIT_IMAGE_GREY


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", NAMES)
def test_every_photograph_is_there_without_a_network(name: str) -> None:
    sample = Photographs([name], size=48)[0]
    assert sample.name == name
    assert sample.input.shape == (3, 48, 48)
    assert sample.input.dtype == torch.float32
    assert sample.input.min() >= 0
    assert sample.input.max() <= 1
    assert sample.input.std() > 0.04


def test_photographs_come_in_the_order_asked_for_and_each_once() -> None:
    data = Photographs(["coffee", "astronaut", "coffee"], size=16)
    assert [sample.name for sample in data] == ["coffee", "astronaut"]
    assert len(data) == 2


def test_photographs_are_in_colour_and_upright() -> None:
    rocket = Photographs(["rocket"], size=64)[0].input
    top, bottom = rocket[:, :8].mean((1, 2)), rocket[:, -8:].mean((1, 2))
    assert top[2] > top[0]
    assert not torch.allclose(top, bottom, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_grey_ones_are_grey(name: str) -> None:
    image = Photographs([name], size=32)[0].input
    assert torch.equal(image[0], image[1]) is (name in SCIKIT_IMAGE_GREY)


def test_past_the_end_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        Photographs()[3]


def test_an_unknown_photograph_lists_the_known_ones() -> None:
    with pytest.raises(ReadoutError, match=r"no photograph 'dog'; choose among astronaut, .*flower"):
        Photographs(["astronaut", "dog"])
