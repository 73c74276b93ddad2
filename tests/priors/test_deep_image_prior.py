import pytest
import torch

from readout.errors import ReadoutError
from readout.priors import DeepImagePrior
from readout.priors.unet import UNet

SHAPE = torch.Size([3, 16, 24])


def images(prior: DeepImagePrior, seeds: list[int]) -> torch.Tensor:
    prior.initialise(seeds, SHAPE)
    return prior()


def test_an_image_depends_on_its_own_seed_only() -> None:
    prior = DeepImagePrior(filters=[4, 8])
    together, alone = images(prior, [5, 6, 7]), images(prior, [6])
    assert together.shape == (3, *SHAPE)
    torch.testing.assert_close(together[1:2], alone)
    assert not torch.allclose(together[0], together[2])


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


def test_a_gradient_never_reaches_another_problem() -> None:
    prior = DeepImagePrior(filters=[4, 8])
    images(prior, [0, 1])[0].square().sum().backward()
    assert prior.latents.grad is not None
    assert prior.latents.grad[0].abs().sum() > 0
    assert prior.latents.grad[1].abs().sum() == 0
    for parameter in prior.weights:
        assert parameter.grad is not None
        assert parameter.grad[1].abs().sum() == 0


def test_drawing_parameters_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    images(DeepImagePrior(filters=[4, 8]), [9])
    assert torch.rand(1) == expected


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
