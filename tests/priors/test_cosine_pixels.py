import math

import pytest
import torch
from torch.autograd.functional import jacobian
from torch.func import functional_call

from readout.common.errors import ReadoutError
from readout.priors import CosinePixels

SHAPE = torch.Size([3, 6, 8])


def started(shape: torch.Size = SHAPE, **arguments: float) -> CosinePixels:
    prior = CosinePixels(**arguments)
    prior.initialise([0], shape)
    return prior.double()


def test_any_image_can_be_written() -> None:
    prior = started(init_std=0.0)
    basis = jacobian(lambda values: functional_call(prior, {"coefficients": values}, ()), prior.coefficients.detach())
    assert torch.linalg.matrix_rank(basis.view(SHAPE.numel(), -1)) == SHAPE.numel()


def test_a_coefficient_is_a_cosine_in_one_opponent_colour_scaled_by_its_frequency() -> None:
    prior = started(torch.Size([3, 8, 8]), init_std=0.0, falloff=2.0, chroma=0.5)
    place = torch.arange(8).double() + 0.5
    scales = []
    for frequency in (1, 2):
        prior.coefficients.data.zero_()[0, 1, 0, frequency] = 1.0
        red, green, blue = prior()[0] - 0.5
        torch.testing.assert_close(red, -blue)
        assert green.abs().max() < 1e-6
        wave = torch.cos(math.pi / 8 * frequency * place).expand(8, 8)
        scale = (red / wave).mean()
        torch.testing.assert_close(red, scale * wave, rtol=1e-5, atol=1e-6)
        scales.append(scale.item())
    assert scales[0] == pytest.approx(4 * scales[1])
    prior.coefficients.data.zero_()[0, 0, 0, 2] = 1.0
    grey = prior()[0, 0] - 0.5
    assert grey.norm().item() * math.sqrt(3) == pytest.approx(2 * scales[1] * wave.norm().item() * math.sqrt(2))


def test_it_starts_from_any_images_and_its_noise() -> None:
    prior = started(init_std=0.1)
    noise = prior().detach() - 0.5
    images = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    prior.start_from(images)
    torch.testing.assert_close(prior().detach(), images + noise, rtol=0, atol=1e-5)


def test_without_falloff_and_with_full_colour_the_basis_is_orthonormal() -> None:
    prior = started(falloff=0.0, chroma=1.0, init_std=1.0)
    assert (prior() - 0.5).norm().item() == pytest.approx(prior.coefficients.norm().item(), rel=1e-6)


def test_the_penalty_is_that_of_pixels() -> None:
    ramp = torch.arange(8.0).div(10).expand(1, 3, 8, 8)
    assert CosinePixels(total_variation=2.0).penalty(ramp).item() == pytest.approx(0.2)
    assert CosinePixels().penalty(ramp).item() == 0


def test_other_inputs_than_images_are_refused() -> None:
    with pytest.raises(ReadoutError, match="needs images, not inputs of shape 5; use Pixels"):
        started(torch.Size([5]))


def test_lower_precision_does_not_round_the_image() -> None:
    prior, image = started().float(), torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        prior.start_from(image - prior().detach() + 0.5)
        torch.testing.assert_close(prior(), image)


def test_a_weight_that_counts_steps_can_not_be_captured() -> None:
    assert CosinePixels().capturable
    assert not CosinePixels(half_life=80).capturable


def test_the_weight_of_smoothness_halves_and_a_resumed_prior_knows_its_age() -> None:
    prior = started(smoothness=2.0, half_life=1.0)
    prior.coefficients.data.fill_(3.0)
    assert [prior.penalty(prior()).tolist()[0] for _ in range(3)] == pytest.approx([9.0, 4.5, 2.25])
    with torch.no_grad():
        prior()  # a look is no step
    resumed = started(smoothness=2.0, half_life=1.0)
    resumed.resume(prior.progress())
    assert resumed.penalty(resumed()).tolist()[0] == pytest.approx(1.125)
