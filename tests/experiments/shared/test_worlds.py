import pytest
import torch

from experiments.shared.worlds import World, linear_r2


@pytest.mark.parametrize("layers", [1, 3])
def test_worlds_are_invertible(layers: int) -> None:
    latents = torch.randn(100, 6, generator=torch.Generator().manual_seed(0))
    world = World(6, layers)
    torch.testing.assert_close(world.inverse(world(latents)), latents)


def test_only_worlds_of_one_layer_are_linear() -> None:
    latents = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0))
    assert linear_r2(World(6, 1)(latents), latents) == pytest.approx(1, abs=1e-6)
    assert linear_r2(World(6, 3)(latents), latents) < 0.9


def test_r2_of_known_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(40_000, 3, generator=generator)
    noise = torch.randn(40_000, 3, generator=generator)
    assert linear_r2(signal, 5 + 2 * signal + noise) == pytest.approx(4 / 5, abs=0.01)
    assert linear_r2(signal, noise) == pytest.approx(0, abs=0.01)
