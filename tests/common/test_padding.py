import pytest
import torch

from readout.common.padding import PADDING, masked_mean, pad, unpad


def test_texts_of_different_lengths_are_stacked_and_unstacked() -> None:
    texts = [torch.tensor([4, 0, 7]), torch.tensor([1])]
    padded = pad(texts)
    assert padded.tolist() == [[4, 0, 7], [1, PADDING, PADDING]]
    assert [unpad(row).tolist() for row in padded] == [[4, 0, 7], [1]]


def test_images_are_stacked_as_they_are() -> None:
    images = [torch.full((3, 2, 2), -1.0), torch.ones(3, 2, 2)]
    assert torch.equal(pad(images), torch.stack(images))
    assert torch.equal(unpad(pad(images)[0]), images[0])


@pytest.mark.parametrize("fill", [0.0, 1e9, float("inf"), float("nan")])
def test_a_masked_mean_never_sees_what_is_masked(fill: float) -> None:
    values = torch.tensor([[[1.0, 3.0], [5.0, 7.0]], [[1.0, 3.0], [fill, fill]]])
    mask = torch.tensor([[True, True], [True, False]])
    assert masked_mean(values, mask).tolist() == [4, 2]
    assert masked_mean(values[:1]).tolist() == [4]
