import pytest
import torch

from readout.priors import Pixels

SHAPE = torch.Size([3, 8, 8])


def test_initial_pixels_are_noise_around_grey() -> None:
    prior = Pixels(clamp=False, init_std=0.1)
    prior.initialise(list(range(50)), SHAPE)
    values = prior().detach()
    assert values.mean().item() == pytest.approx(0.5, abs=0.01)
    assert values.std().item() == pytest.approx(0.1, rel=0.05)


def test_clamping_projects_and_keeps_the_whole_gradient() -> None:
    prior = Pixels(clamp=True)
    prior.initialise([0], SHAPE)
    prior.pixels.data.fill_(1.7)
    values = prior()
    assert (values == 1).all()
    values.sum().backward()
    assert prior.pixels.grad is not None
    assert (prior.pixels.grad == 1).all()


def test_without_a_clamp_values_are_free() -> None:
    prior = Pixels(clamp=False)
    prior.initialise([0], SHAPE)
    prior.pixels.data.fill_(1.7)
    assert prior().max().item() == pytest.approx(1.7)


def test_total_variation_of_a_ramp_is_its_slope() -> None:
    ramp = torch.arange(8.0).div(10).expand(1, 3, 8, 8)
    assert Pixels(total_variation=2.0).penalty(ramp).item() == pytest.approx(0.2)
    assert Pixels().penalty(ramp).item() == 0
