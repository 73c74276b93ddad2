from pathlib import Path

import pandas as pd
import pytest
import torch

from experiments.digits_latents import SCALES, conclude, interpret, main
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_it_ends_in_accuracies_of_every_kind_of_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = run(main, tmp_path)
    assert table.groupby(["layer", "codes"])["accuracy"].count().eq(4).all()
    assert table["codes"].nunique() == 6
    means = table.groupby(["layer", "k"])["accuracy"].mean()
    assert (means[:, 8] > means[:, 1]).all()
    assert means["dense", 8] > means["pixels", 8]
    run_again(main, tmp_path, table, monkeypatch)


def test_latents_of_one_class_are_interpretable_and_dead_ones_left_out() -> None:
    labels = torch.arange(400) % 10
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(400, 60, generator=generator)
    one_class, dead = (labels == 3) * (1 + noise[:, 0]), torch.zeros(400)
    codes = torch.cat([torch.stack([one_class, dead], 1), noise], 1)
    found = interpret(SCALES["smoke"], {"made": codes}, labels)
    assert len(found) == 61
    assert found["score"][0] > 0.95
    assert found["score"][1:].mean() == pytest.approx(0.5, abs=0.1)
    assert found["active"][0] == pytest.approx(0.1)


def test_sentences_follow_the_numbers() -> None:
    accuracies = {"alternating": 0.8, "TopK": 0.5, "PCA": 0.6}
    rows = [
        {"layer": "pixels", "codes": name, "k": k, "split": split, "accuracy": value + k / 100 + split / 1000}
        for name, value in accuracies.items()
        for k in (1, 2)
        for split in range(5)
    ]
    scores = [
        {"layer": "pixels", "codes": name, "score": value + n / 1000}
        for name, value in accuracies.items()
        for n in range(5)
    ]
    first, second = conclude(pd.DataFrame(rows), pd.DataFrame(scores))
    assert "holds in part (2 of 4 pairs of codes and k)" in first
    assert "over 5 splits at k = 1, 2: alternating 0.81, 0.82; TopK 0.51, 0.52; PCA 0.61, 0.62." in first
    assert "more interpretable holds in part: mean score by class, pixels: alternating 0.80" in second
