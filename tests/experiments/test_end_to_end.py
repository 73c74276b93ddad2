from pathlib import Path

import pandas as pd
import pytest
import torch

from experiments.end_to_end import SCALES, SMALL, Chain, closed_forms, main, read
from experiments.summaries.end_to_end import FITTED, LEARNT, TRUE, conclude
from tests.experiments.helpers import run


@pytest.mark.slow
def test_every_step_of_the_chain_keeps_the_code(tmp_path: Path) -> None:
    table = run(main, tmp_path)
    assert table["stage"].tolist() == [TRUE, FITTED, LEARNT, LEARNT]
    mcc = table["mcc"].tolist()
    assert mcc[0] == pytest.approx(1, abs=0.005)
    assert mcc[1] == pytest.approx(1, abs=0.005)
    untrained, trained = (row for _, row in table[table["stage"] == LEARNT].iterrows())
    assert trained["r2"] > 0.98 > untrained["r2"]
    assert trained["mcc"] > 0.98 > untrained["mcc"]
    assert trained["mcc"] > trained["linear"] > trained["chance"]


def test_noisy_features_follow_the_closed_forms() -> None:
    size = SMALL[2]
    chain = Chain(size, SCALES["cpu"])
    features = chain.dictionary.decode(chain.held_out)
    rotation, scales, _ = torch.linalg.svd(features.T.cov())
    white = (features - features.mean(0)) @ rotation / scales.sqrt()
    noise = 0.3 * torch.randn(white.shape, generator=torch.Generator().manual_seed(0))
    found = read(white + noise, chain.held_out)
    assert found["r2"] == pytest.approx(1 / 1.09, abs=0.01)
    expected, bound = closed_forms(found["r2"], found["penalty"], size)
    # of 32 latents, where state evolution is for many
    assert found["mcc"] == pytest.approx(expected, abs=0.03)
    assert found["mcc"] < bound
    assert found["probe"] < (size.dimensions / size.latents) ** 0.5 + 0.02


def test_latents_of_a_chain_are_sparse() -> None:
    assert (Chain(SMALL[0], SCALES["smoke"]).draw(50) > 0).sum(1).tolist() == [1] * 50


def test_sentences_follow_the_numbers() -> None:
    learnt = {"stage": LEARNT, "expected": 0.96, "bound": 0.97, "probe": 0.7, "chance": 0.3, "linear": 0.71}
    rows = [
        {"stage": TRUE, "mcc": 0.999},
        {"stage": FITTED, "mcc": 0.98},
        {**learnt, "step": 10, "r2": 0.9, "mcc": 0.95},
        {**learnt, "step": 20, "r2": 0.99, "mcc": 0.975},
    ]
    true, fitted, bounded, beaten = conclude(pd.DataFrame(rows).assign(size="N = 4"))
    assert "at least 0.99 holds in part: 0.999 at worst with the true dictionary, 0.980" in true
    assert (
        "is so does not hold; that their R² reaches 0.98 holds. At the end, means over seeds: N = 4: R² 0.990" in fitted
    )
    assert "holds in part in 1 of 2 cases; the closed form for the LASSO misses by 0.013" in bounded
    assert beaten.endswith("a probe and √(M/N), holds in 1 of 1 networks at the end of training.")
