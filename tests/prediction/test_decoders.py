import pytest
import torch

from readout.prediction.decoders import GradientDescent, PosteriorMean

EIGENVALUES = torch.tensor([0.0, 1e-3, 0.1, 0.5, 2.0], dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_gradient_descent_does_what_its_steps_do(steps: int) -> None:
    x = torch.zeros_like(EIGENVALUES)
    for _ in range(steps):  # towards 1 in every direction
        x = x - 0.4 * EIGENVALUES * (x - 1)
    gain = GradientDescent(0.4, steps).gain(EIGENVALUES, torch.ones(()))
    torch.testing.assert_close(gain, x)


@pytest.mark.parametrize("decoder", [PosteriorMean(), GradientDescent(0.5, 3)])
def test_noise_is_that_of_the_filter_behind_the_gain(decoder: PosteriorMean | GradientDescent) -> None:
    variance = torch.tensor(0.3, dtype=torch.float64)
    seen = EIGENVALUES[1:]
    psi = decoder.gain(seen, variance) / seen
    torch.testing.assert_close(decoder.noise(seen, variance), variance * seen * psi**2)
    assert decoder.noise(EIGENVALUES[:1], variance).item() == 0


def test_the_posterior_mean_has_the_least_error() -> None:
    variance, best = torch.tensor(0.3, dtype=torch.float64), PosteriorMean()

    def error(decoder: PosteriorMean | GradientDescent) -> torch.Tensor:
        return (1 - decoder.gain(EIGENVALUES, variance)).square() + decoder.noise(EIGENVALUES, variance)

    for steps in (1, 3, 10, 30):
        assert (error(best) <= error(GradientDescent(0.5, steps)) + 1e-12).all()
    torch.testing.assert_close(error(best), variance / (EIGENVALUES + variance))
