import pytest
import torch
from torch import nn

from readout.common.errors import ReadoutError
from readout.data import Photographs
from readout.extractors import VGG19
from readout.metrics import correlation_distance
from readout.priors import DecoderPrior, VGGDecoder
from readout.readouts import ImageInversion
from tests.tiny import TinyNet

SHAPE = torch.Size([3, 8, 8])


class Doubling(DecoderPrior):
    """Images are their latents, twice as large."""

    def __init__(self, gain: float = 1.0, init_std: float = 0.2) -> None:
        mixing = nn.Conv2d(3, 3, kernel_size=1, bias=False)
        nn.init.dirac_(mixing.weight)
        mixing.weight.data *= gain
        super().__init__(nn.Sequential(mixing, nn.Upsample(scale_factor=2, mode="nearest")), init_std)
        self.gain = gain

    def latent_shape(self, input_shape: torch.Size) -> torch.Size:
        return torch.Size([3, input_shape[1] // 2, input_shape[2] // 2])


def test_images_are_the_decoders_cut_to_the_valid_range() -> None:
    prior = Doubling()
    prior.initialise([1, 2], SHAPE)
    expected = prior.latents.detach().repeat_interleave(2, dim=2).repeat_interleave(2, dim=3).clamp(0, 1)
    torch.testing.assert_close(prior().detach(), expected)
    assert prior.latents.std().item() == pytest.approx(0.2, rel=0.2)


def test_the_decoders_weights_take_part_in_what_decides_an_answer() -> None:
    described = [ImageInversion(TinyNet(), Doubling(gain)).describe() for gain in (1.0, 1.0, 2.0)]
    assert described[0] == described[1]
    assert described[0]["prior_fingerprint"] != described[2]["prior_fingerprint"]


def test_the_decoder_stays_in_evaluation_mode() -> None:
    prior = Doubling().train()
    assert prior.training
    assert not prior.decoder.training


def test_a_negative_spread_is_refused() -> None:
    with pytest.raises(ReadoutError, match="init_std"):
        Doubling(init_std=-1)


@pytest.mark.real_weights
def test_the_vgg_decoder_turns_real_features_back_into_their_photographs() -> None:
    true = torch.stack([sample.input for sample in Photographs(size=128)])
    decoded = VGGDecoder().decode(VGG19().extract(true, "conv4_1").relu()).clamp(0, 1)
    assert decoded.shape == true.shape
    distances = torch.stack([correlation_distance(decoded, true.roll(shift, 0)) for shift in range(3)])
    # nearer to its own photograph than to the others, for each of the three
    assert distances.argmin(0).tolist() == [0, 0, 0]
    assert distances[0].max() < 0.4


@pytest.mark.real_weights
def test_the_vgg_decoder_refuses_images_that_its_grid_cannot_make() -> None:
    with pytest.raises(ReadoutError, match="multiples of 8"):
        VGGDecoder().initialise([0], torch.Size([3, 60, 64]))
