import pytest
import torch

from readout.decoders.noise import SMALLEST, noise_variance

VARIANCES = 1 / torch.arange(1, 51, dtype=torch.float64) ** 2


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("spare", [0, 500])
def test_energies_as_expected_give_the_noise_in_them(noise: float, spare: int) -> None:
    energies = (VARIANCES + noise).expand(2, -1)
    found = noise_variance(energies, VARIANCES, torch.full((2,), spare * noise, dtype=torch.float64), spare)
    assert found.tolist() == pytest.approx([noise] * 2, rel=0.01)


def test_it_is_the_most_likely_one() -> None:
    generator = torch.Generator().manual_seed(0)
    energies = (VARIANCES + 0.01) * torch.randn(20, 50, generator=generator, dtype=torch.float64) ** 2
    fine = torch.logspace(-8, 3, 20_000, dtype=torch.float64)
    total = VARIANCES + fine.unsqueeze(1)
    best = [fine[(total.log() + row / total).sum(1).argmin()].item() for row in energies]
    found = noise_variance(energies, VARIANCES, torch.zeros(20, dtype=torch.float64), 0)
    # a likelihood that rises towards 0 has its maximum at the smallest value that either of the two tries
    assert [max(value, 1e-8) for value in found.tolist()] == pytest.approx(best, rel=0.01)
    assert sum(value > 1e-7 for value in best) > 10


def test_a_clean_feature_has_next_to_none() -> None:
    found = noise_variance(torch.zeros(1, 50, dtype=torch.float64), VARIANCES, torch.zeros(1, dtype=torch.float64), 7)
    assert found.tolist() == pytest.approx([SMALLEST])


def test_rows_do_not_touch_each_other() -> None:
    energies = torch.tensor([[1.0, 0.1], [50.0, 20.0], [0.01, 0.3]])
    spare = torch.tensor([0.1, 9.0, 0.0])
    variances = torch.tensor([1.0, 0.2])
    together = noise_variance(energies, variances, spare, 4)
    alone = [noise_variance(energies[row : row + 1], variances, spare[row : row + 1], 4) for row in range(3)]
    assert torch.equal(together, torch.cat(alone))
