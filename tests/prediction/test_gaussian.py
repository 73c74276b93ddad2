import pytest
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.prediction import GaussianPrior, NaturalImages, NoPrior
from readout.prediction.curve import centred
from readout.prediction.gaussian import CHANNEL_CORRELATION


def image(*shape: int) -> Tensor:
    return torch.rand(*shape or (3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def root(prior: GaussianPrior, shape: torch.Size) -> Tensor:
    """C^½ as a matrix."""
    size = shape.numel()
    return prior.root(torch.eye(size, dtype=torch.float64).view(size, *shape)).flatten(1)


def test_power_falls_with_the_square_of_the_frequency() -> None:
    x = image(1, 16, 16)
    impulse = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    impulse[..., 0, 0] = 1
    prior = NaturalImages(x)
    power = torch.fft.fft2(prior.root(prior.root(impulse)))[0, 0].real
    assert float(power[0, 1] / power[0, 4]) == pytest.approx(16)
    assert float(power[3, 4] / power[5, 0]) == pytest.approx(1)
    assert float(power[0, 0] / power[1, 0]) == pytest.approx(1)


def test_channels_are_correlated_and_equally_varied() -> None:
    x = image()
    c_half = root(NaturalImages(x), x.shape)
    covariance = (c_half @ c_half).view(3, 64, 3, 64)
    variances = torch.stack([covariance[channel, :, channel].diagonal() for channel in range(3)])
    torch.testing.assert_close(variances, variances[0, 0].expand(3, 64))
    across = covariance[0, :, 1].diagonal() / variances[0]
    torch.testing.assert_close(across, torch.full_like(across, CHANNEL_CORRELATION))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8), (3, 6, 9), (3, 7, 5)])
def test_an_image_from_it_is_as_varied_as_the_image_at_hand(shape: tuple[int, ...]) -> None:
    x = image(*shape)
    c_half = root(NaturalImages(x), x.shape)
    torch.testing.assert_close(c_half, c_half.t())
    visible = centred(c_half.view(-1, *shape)).square().sum()
    torch.testing.assert_close(visible, (x - x.mean()).square().sum())


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 6, 9)])
@pytest.mark.parametrize("kind", [NaturalImages, NoPrior])
def test_whitening_undoes_the_root(kind: type[GaussianPrior], shape: tuple[int, ...]) -> None:
    x = image(*shape)
    prior, rows = kind(x), image(4, *shape)
    torch.testing.assert_close(prior.whiten(prior.root(rows)), rows)


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 5, 3), (6,)])
def test_probes_are_white_on_average(shape: tuple[int, ...]) -> None:
    x = image(*shape)
    prior: GaussianPrior = NaturalImages(x) if len(shape) == 3 else NoPrior(x)
    z = prior.probes(20_000, seed=0).flatten(1)
    # 1/√20,000 is 0.007
    torch.testing.assert_close(z.t() @ z / len(z), torch.eye(x.numel(), dtype=torch.float64), rtol=0, atol=0.04)
    torch.testing.assert_close(z.square().sum(1).float(), torch.full((len(z),), float(x.numel())))


def test_probes_give_the_trace_of_the_prior_without_spread() -> None:
    x = image()
    prior = NaturalImages(x)
    traces = prior.root(prior.probes(5, seed=0)).flatten(1).square().sum(1)
    torch.testing.assert_close(traces.float(), root(prior, x.shape).square().sum().float().expand(5))


def test_probes_follow_the_seed() -> None:
    prior = NaturalImages(image())
    assert torch.equal(prior.probes(3, seed=5), prior.probes(3, seed=5))
    assert not torch.equal(prior.probes(3, seed=5), prior.probes(3, seed=6))
    torch.testing.assert_close(prior.probes(3, seed=5)[:2], prior.probes(2, seed=5))


def test_without_a_prior_decoding_starts_from_mid_grey() -> None:
    assert torch.equal(NoPrior(image()).mean, torch.full((3, 8, 8), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(12,), (2, 8, 8), (4, 3, 8, 8)])
def test_natural_images_are_images(shape: tuple[int, ...]) -> None:
    with pytest.raises(ReadoutError, match=r"needs an image of 1 or 3 channels.*use `prior='none'`"):
        NaturalImages(image(*shape))
