import pytest
import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.decoders import fit_ridge
from readout.extractors import OrthonormalLinear
from readout.metrics import correlation_distance
from readout.perturbations import noise_to_signal
from readout.representation import linear_distance, wiener_distance

LEVELS = (0.0, 0.3, 0.5, 0.7, 0.9)


def gaussian(count: int, variances: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + torch.randn(count, len(variances), generator=generator) * variances.sqrt()


@pytest.mark.parametrize("variances", [torch.full((100,), 0.04), 1 / torch.arange(1, 101)], ids=["white", "pink"])
def test_gaussian_inputs_are_read_at_wieners_distance(variances: Tensor) -> None:
    extractor = OrthonormalLinear((100,), expansion=4)
    x, unseen = gaussian(5000, variances, 0), gaussian(1000, variances, 1)
    ridge, h = fit_ridge(extractor.extract(x, "linear"), x), extractor.extract(unseen, "linear")
    found = []
    for level in LEVELS:
        # one noise for all inputs, and one correlation over all of them, are what the closed form is of
        noise = noise_to_signal(level) * (variances.sum() / h.shape[1]).sqrt()
        moved = h + noise * torch.randn(h.shape, generator=torch.Generator().manual_seed(2))
        found.append(correlation_distance(ridge.read(moved).view(1, -1), unseen.view(1, -1)).item())
    expected = wiener_distance(LEVELS, variances.numpy(), 4).tolist()
    assert found == pytest.approx(expected, abs=0.01)
    if variances[0] == variances[1]:
        assert expected == pytest.approx(linear_distance(LEVELS, 4).tolist())


@pytest.mark.parametrize(("count", "size"), [(30, 80), (200, 40)])
def test_it_is_ridge_regression_with_the_noise_as_penalty(count: int, size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, size, generator=generator, dtype=torch.float64) @ torch.diag(
        1 / torch.arange(1, size + 1, dtype=torch.float64)
    )
    signals = features @ torch.randn(size, 5, generator=generator, dtype=torch.float64) + 2
    ridge = fit_ridge(features, signals)
    centred, targets = features - features.mean(0), signals - signals.mean(0)
    # so much noise in so many dimensions that its estimate is sharp
    noise = 0.3 * torch.randn(1, size, generator=generator, dtype=torch.float64)
    moved = features[:1] + noise
    read = ridge.read(moved)
    values, basis = torch.linalg.eigh(centred.T @ centred)
    along, crossed = (moved - features.mean(0)) @ basis, basis.T @ (centred.T @ targets)
    # the penalty that the reading corresponds to, by search
    grid = torch.logspace(-3, 3, 4000, dtype=torch.float64)
    plain = (along / (values + count * grid.unsqueeze(1))) @ crossed + signals.mean(0)
    gaps = (plain - read).norm(dim=1)
    assert gaps.min() < 1e-3 * read.norm()
    assert 0.04 < grid[gaps.argmin()] < 0.2  # 0.09, by a draw of so many values


def test_singular_vectors_are_those_of_the_training_features() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((12, 50), (50, 12)):
        features = torch.randn(shape, generator=generator)
        ridge = fit_ridge(features, features[:, :3])
        values = torch.linalg.svdvals((features - features.mean(0)).double())
        values = values[values > 1e-5]
        assert ridge.singular_values.tolist() == pytest.approx(values.tolist(), rel=1e-4)
        assert torch.allclose(ridge.directions @ ridge.directions.T, torch.eye(len(values)), atol=1e-5)


def test_signals_of_clean_features_are_read_as_far_as_they_generalise() -> None:
    generator = torch.Generator().manual_seed(0)
    latents, mixing = torch.randn(20, 3, generator=generator), torch.randn(3, 500, generator=generator)
    torch.testing.assert_close(fit_ridge(latents @ mixing, latents).read(latents @ mixing), latents, atol=1e-2, rtol=0)
    unrelated = torch.randn(20, 500, generator=generator)
    read = fit_ridge(unrelated, latents).read(unrelated)  # without a penalty, these would be the latents too
    assert (read - latents.mean(0)).norm() < 0.6 * (latents - latents.mean(0)).norm()


def test_rows_do_not_touch_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(30, 50, generator=generator)
    ridge = fit_ridge(features, features[:, :4])
    moved = torch.randn(6, 50, generator=generator) * torch.tensor([0.1, 1, 5, 20, 1, 1]).unsqueeze(1)
    alone = torch.cat([ridge.read(row.unsqueeze(0)) for row in moved])
    torch.testing.assert_close(ridge.read(moved), alone, atol=1e-5, rtol=1e-5)


def test_equal_features_are_one_sentence() -> None:
    with pytest.raises(ReadoutError, match="features are the same"):
        fit_ridge(torch.ones(5, 3), torch.rand(5, 2))
