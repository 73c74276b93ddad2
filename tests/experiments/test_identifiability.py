from pathlib import Path

import pandas as pd
import pytest
import torch
from scipy.special import ive

from experiments.identifiability import ClusterProcess, main
from experiments.summaries.identifiability import ENOUGH, REFERENCE, conclude
from tests.experiments.helpers import run


@pytest.mark.slow
def test_a_classifier_finds_the_latents(tmp_path: Path) -> None:
    table = run(main, tmp_path)
    found = table[table["step"] == 500].set_index("case")["r2"]
    raw = table.groupby("case")["raw"].first()
    assert found[REFERENCE] > 0.95 > raw[REFERENCE]
    few = "2 clusters (d − 1)"
    assert found[few] < raw[few]
    assert found["κ = 1000"] < found["κ = 100"] < found[REFERENCE]


@pytest.mark.parametrize("laplace", [False, True])
def test_latents_lie_on_the_sphere_around_their_cluster(laplace: bool) -> None:
    process = ClusterProcess(4, 7, laplace=laplace)
    latents, clusters = process.draw(20_000)
    torch.testing.assert_close(latents.norm(dim=1), torch.ones(len(latents)))
    assert clusters.bincount().tolist() == pytest.approx([20_000 / 7] * 7, rel=0.1)
    for cluster, vector in enumerate(process.vectors):
        mean = latents[clusters == cluster].mean(0)
        assert torch.cosine_similarity(mean, vector, dim=0) > 0.99


def test_concentration_is_that_of_the_density() -> None:
    # E cos = I_{d/2}(κ) / I_{d/2 − 1}(κ)
    process = ClusterProcess(5, 3, concentration=10)
    latents, clusters = process.draw(50_000)
    expected = ive(2.5, 10) / ive(1.5, 10)
    cosines = (latents * process.vectors[clusters]).sum(1)
    assert float(cosines.mean()) == pytest.approx(expected, abs=0.003)


def test_sentences_follow_the_numbers() -> None:
    rows = [
        {"case": case, "seed": seed, "step": step, "r2": r2 + 0.001 * seed, "raw": 0.8, "accuracy": 0.3}
        for case, r2 in ((REFERENCE, 0.98), (f"6 {ENOUGH}", 0.9), ("few", 0.8995), ("Laplace", 0.97))
        for seed in range(2)
        for step in (5, 10)
    ]
    first, enough, few, laplace = conclude(pd.DataFrame(rows))
    assert "up to a linear map holds: linear R² 0.980 and 0.981 by seed after 10 steps" in first
    assert enough.startswith("6 (d + 1): that R² reaches 0.98 does not hold: 0.900 and 0.901")
    assert few.startswith("few: that R² falls below 0.9 holds in part:")
    assert laplace.startswith(
        "Laplace: that R² falls below 0.9 does not hold: 0.970 and 0.971, 0.800 and 0.800 from raw"
    )
