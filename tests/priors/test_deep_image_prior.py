import pytest
import torch
from torch import nn

from readout.common.errors import ReadoutError
from readout.priors import DeepImagePrior
from readout.priors.unet import UNet

SHAPE = torch.Size([3, 16, 24])


def images(prior: DeepImagePrior, seeds: list[int]) -> torch.Tensor:
    prior.initialise(seeds, SHAPE)
    return prior()


def test_images_lie_between_zero_and_one() -> None:
    values = images(DeepImagePrior(filters=[4, 8]), [1, 2])
    assert 0 < values.min() < values.max() < 1


def test_batched_generators_equal_the_plain_network() -> None:
    prior = DeepImagePrior(filters=[4, 8, 16])
    batched = images(prior, [3, 4])
    for row, seed in enumerate([3, 4]):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network, latent = UNet(3, [4, 8, 16]), torch.rand(SHAPE)
        torch.testing.assert_close(batched[row], network(latent.unsqueeze(0))[0])


@pytest.mark.parametrize(("optimize", "weights", "latent"), [("both", 1, 1), ("weights", 1, 0), ("latent", 0, 1)])
def test_only_what_is_optimised_gets_a_gradient(optimize: str, weights: bool, latent: bool) -> None:
    prior = DeepImagePrior(optimize=optimize, filters=[4, 8])  # type: ignore[arg-type]
    images(prior, [0, 1]).sum().backward()
    assert all((p.grad is not None) == bool(weights) for p in prior.weights)
    assert (prior.latents.grad is not None) == bool(latent)


@pytest.mark.parametrize(("latent", "low"), [("uniform", 0.0), ("normal", -10.0)])
def test_latents_have_their_distribution(latent: str, low: float) -> None:
    prior = DeepImagePrior(filters=[4, 8], latent=latent)  # type: ignore[arg-type]
    images(prior, list(range(8)))
    smallest = prior.latents.min().item()
    assert (smallest >= 0) == (low == 0.0)
    expected_std = 12**-0.5 if latent == "uniform" else 1.0
    assert prior.latents.std().item() == pytest.approx(expected_std, rel=0.05)


def test_a_constant_image_is_dead_and_a_picture_is_not() -> None:
    prior = DeepImagePrior()
    flat = torch.tensor([0.2, 0.5, 0.9]).view(3, 1, 1).expand(3, 8, 8)
    picture = torch.rand(3, 8, 8)
    assert prior.is_dead(torch.stack([flat, picture])).tolist() == [True, False]


def test_images_too_small_for_the_scales_are_refused() -> None:
    with pytest.raises(ReadoutError, match="at least 32 pixels"):
        DeepImagePrior(filters=[4] * 5).initialise([0], torch.Size([3, 16, 16]))


@pytest.mark.parametrize("wrong", [{"optimize": "all"}, {"latent": "pink"}, {"filters": []}])
def test_unknown_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ReadoutError):
        DeepImagePrior(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("shape", [(3, 16, 24), (3, 19, 21)])
def test_one_network_for_all_gives_the_images_and_gradients_of_plain_ones(count: int, shape: tuple[int, ...]) -> None:
    prior = DeepImagePrior(filters=[4, 8, 16])
    prior.initialise(list(range(count)), torch.Size(shape))
    prior.double()
    target = torch.rand(count, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = prior.one_by_one()
    expected = torch.autograd.grad((plain - target).square().sum(), list(prior.parameters()))
    prior.lay_out(torch.device("cpu"))
    fast = prior()
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-12)
    found = torch.autograd.grad((fast - target).square().sum(), list(prior.parameters()))
    # a bias before a norm has no effect, so its gradient is nothing but rounding
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)


def test_a_network_of_ones_own_runs_as_it_is() -> None:
    class Shallow(DeepImagePrior):
        def _build(self, input_shape: torch.Size) -> nn.Module:
            return nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sigmoid())

    prior = Shallow(filters=[4, 8])
    batched = images(prior, [3, 4])
    for row, seed in enumerate([3, 4]):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network, latent = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sigmoid()), torch.rand(SHAPE)
        torch.testing.assert_close(batched[row], network(latent))


def test_laying_out_kernels_changes_none_and_keeps_them_parameters() -> None:
    prior = DeepImagePrior(filters=[4, 8])
    prior.initialise([0, 1], SHAPE)
    before = {name: value.clone() for name, value in prior.named_parameters()}
    prior.lay_out(torch.device("cpu"))
    after = dict(prior.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    kernels = [weight.flatten(0, 1) for weight in prior.weights if weight.ndim == 5]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
