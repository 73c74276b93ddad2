from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.optim import AdamW

from readout import measure
from readout.common.errors import ReadoutError
from readout.data import InputData, Sample, Samples, UniformNoise
from readout.priors import Pixels
from readout.readouts import ImageInversion, MeanSquaredError, WhitenedError
from tests.tiny import TinyNet

STRONG, WEAK = 10.0, 0.1
"""Standard deviations of two independent channels."""


def extract(inputs: Tensor) -> Tensor:
    """Two channels, of those standard deviations, from inputs uniform on [0, 1]."""
    scales = torch.tensor([STRONG, WEAK]).view(2, 1, 1)
    return 12**0.5 * scales * (inputs - 0.5)


def prepared(images: InputData | None = None, samples: Sequence[Sample] = ()) -> WhitenedError:
    loss = WhitenedError(images or UniformNoise(400, (2, 4, 4)))
    loss.meet(TinyNet(), Samples.of(samples), (2, 4, 4))
    loss.prepare(extract, "layer")
    return loss


def errors(loss: WhitenedError | MeanSquaredError, target: Tensor) -> list[float]:
    """Losses of an error of one standard deviation along each channel."""
    off = torch.diag(torch.tensor([STRONG, WEAK])).view(2, 2, 1, 1)
    return loss(target + off, target.expand(2, -1, -1, -1).contiguous()).tolist()


def test_without_noise_strong_and_weak_channels_count_alike() -> None:
    target = extract(torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(7)))
    # one of two components is off by one standard deviation; the weakest noise that is assumed takes some of the weak
    assumed = 1e-3 * (STRONG**2 + WEAK**2) / 2
    weak = 0.5 * (WEAK**2 / (WEAK**2 + assumed)) ** 2
    assert errors(prepared(), target) == pytest.approx([0.5, weak], rel=0.05)
    assert errors(MeanSquaredError(), target) == pytest.approx([STRONG**2 / 2, WEAK**2 / 2])


def test_what_is_below_the_noise_counts_little() -> None:
    generator = torch.Generator().manual_seed(7)
    target = extract(torch.rand(1, 2, 4, 4, generator=generator)) + torch.randn(1, 2, 4, 4, generator=generator)
    strong, weak = errors(prepared(), target)
    assert strong == pytest.approx(0.5, rel=0.1)
    assert weak < 0.5 * (2 * WEAK**2) ** 2


def test_an_inversion_measures_it_at_its_layer_and_names_its_images_in_keys() -> None:
    def inverted(seed: int) -> tuple[float, str]:
        loss = WhitenedError(UniformNoise(20, (3, 16, 16), seed))
        readout = ImageInversion(TinyNet(), Pixels(), optimizer=partial(AdamW, lr=0.05), loss=loss)
        images = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(9))
        measured = measure(None, images, "middle", [0], readout=readout, steps=100, progress=False)
        return measured.problems["loss"].item() / measured.problems["scale"].item(), measured.problems["key"].item()

    (left, key), (_, other) = inverted(1), inverted(2)
    assert left < 0.02
    assert key != other


def test_a_loss_never_sees_what_is_read_with_it() -> None:
    images = UniformNoise(20, (2, 4, 4))
    with pytest.raises(ReadoutError, match="is also in loss"):
        prepared(images, [images[3]])


def test_too_few_images_for_the_components_are_refused() -> None:
    loss = WhitenedError(UniformNoise(20, (2, 4, 4)))
    loss.meet(TinyNet(), Samples.of(()), (2, 4, 4))
    with pytest.raises(ReadoutError, match=r"20 inputs, too few for the 32 components .* give at least 32"):
        loss.prepare(lambda inputs: inputs.flatten(1), "flat")


def test_texts_are_refused() -> None:
    with pytest.raises(ReadoutError, match="WhitenedError is for images; choose another loss"):
        WhitenedError(UniformNoise(20)).meet(TinyNet(), Samples.of(()), None)


def test_lower_precision_rounds_the_feature_and_not_its_components() -> None:
    loss, target = prepared(), extract(torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(7)))
    expected = errors(loss, target)
    loss.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert errors(loss, target) == expected


def test_images_are_measured_again_when_others_are_met() -> None:
    loss, other = prepared(), prepared(UniformNoise(400, (2, 4, 4), seed=1))
    target = extract(torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(7)))
    assert errors(loss, target) != errors(other, target)
    loss.images = other.images
    loss.meet(TinyNet(), Samples.of(()), (2, 4, 4))
    loss.prepare(extract, "layer")
    assert errors(loss, target) == errors(other, target)


def test_several_layers_as_one_are_refused() -> None:
    with pytest.raises(ReadoutError, match="one layer at a time"):
        WhitenedError(UniformNoise())(torch.ones(1, 2), torch.ones(1, 2))
