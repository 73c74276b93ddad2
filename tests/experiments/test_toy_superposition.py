from pathlib import Path

import pandas as pd
import pytest
import torch

from experiments.summaries.toy_superposition import conclude
from experiments.toy_superposition import ToyModels, closed_losses, gaps, main
from tests.experiments.helpers import run


@pytest.mark.slow
def test_it_finds_the_geometries(tmp_path: Path) -> None:
    features = run(main, tmp_path)
    pentagons = features[features["density"] == 0.05]
    assert pentagons["dimensionality"].to_numpy() == pytest.approx(0.4, abs=0.005)
    assert pentagons["gap"].to_numpy() == pytest.approx(72, abs=1)
    sparser = features[features["density"] == 0.3]
    # in a local minimum one feature has a dimension of its own
    pairs = sparser[sparser["loss"] == sparser["loss"].min()].dropna(subset="gap")
    assert len(pairs) == 4
    assert pairs["dimensionality"].to_numpy() == pytest.approx(0.5, abs=0.005)
    assert pairs["gap"].to_numpy() == pytest.approx(90, abs=1)
    dense = features[features["density"] == 1]
    assert (dense["norm"] ** 2).groupby(dense["seed"]).sum().to_numpy() == pytest.approx(2, abs=0.02)
    cells = pd.read_csv(tmp_path / "phases.csv")
    assert (cells["phase"] == cells["expected"]).mean() > 0.8


def test_gaps_of_known_shapes() -> None:
    for corners in (3, 5, 8):
        turns = 2 * torch.pi * torch.arange(corners) / corners
        polygon = 1.3 * torch.stack([turns.cos(), turns.sin()], 1)
        torch.testing.assert_close(gaps(polygon), torch.full((corners,), 360.0 / corners))
    # the second atom is short, and the angle from the first leads past it
    found = gaps(torch.tensor([[1.0, 0.0], [0.1, 0.1], [0.0, -1.0], [0.0, 1.0]]))
    torch.testing.assert_close(found, torch.tensor([90.0, torch.nan, 90.0, 180.0]), equal_nan=True)


@pytest.mark.parametrize(("solution", "atoms"), [(0, [1.0, 0.0]), (1, [0.0, 1.0]), (2, [1.0, -1.0])])
def test_closed_losses_are_those_of_the_model(solution: int, atoms: list[float]) -> None:
    density, importance = torch.tensor([0.2]), torch.tensor([[1.0, 0.6]])
    models = ToyModels(density, importance, 1, steps=1, batch=20_000)
    with torch.no_grad():
        models.atoms.copy_(torch.tensor(atoms).view(1, 2, 1))
        # a dropped feature is best guessed by its mean, p/2
        models.bias.copy_(torch.tensor([0.0 if atom else 0.1 for atom in atoms]))
        found = models.evaluate()
    expected = closed_losses(density, importance[:, 1])[solution]
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0)


def test_sentences_follow_the_numbers() -> None:
    rows = [
        {"density": density, "seed": seed, "norm": norm, "dimensionality": share, "gap": gap}
        for density, norm, share, gap, count in ((1, 0.5**0.5, 0.5, 90, 4), (0.3, 1, 0.5, 90, 4), (0.05, 1, 0.4, 72, 5))
        for seed in range(2)
        for _ in range(count)
    ]
    features = pd.DataFrame(rows)
    cells = pd.DataFrame({"phase": ["superposed", "dropped"], "expected": ["superposed", "own dimension"]})
    pca, pairs, pentagon, phases = conclude(features, cells)
    assert pca == "PCA at density 1 holds: ‖W‖² 2.000 to 2.000 over 2 seeds."
    assert "antipodal pairs holds in 2 of 2 seeds: dimensionality 0.500 to 0.500, angles 90.0°" in pairs
    assert "the regular pentagon holds in 2 of 2" in pentagon
    assert "does not hold: 1 of 2 cells agree" in phases
    features.loc[(features["density"] == 0.05) & (features["seed"] == 1), "gap"] = 70
    assert "the regular pentagon holds in part in 1 of 2 seeds" in conclude(features, cells)[2]
