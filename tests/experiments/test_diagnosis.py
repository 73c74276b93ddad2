from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.diagnosis import main
from experiments.shared.outliers import letters, noisy, rotated
from experiments.summaries.diagnosis import calibrate, compare, conclude
from readout.data import Digits
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_every_group_has_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = run(main, tmp_path)
    assert inputs["group"].value_counts().to_dict() == {
        "digit": 12,
        "rotated": 5,
        "noisy": 5,
        "letter": 5,
        "more": 4,
    }
    assert not inputs.loc[inputs["group"].isin(["more", "letter"]), "right"].any()
    assert inputs["softmax"].between(0.1, 1).all()
    assert inputs["size"].tolist() == pytest.approx(inputs[["size_conv1", "size_conv3"]].mean(axis=1).tolist())
    tests = pd.read_csv(tmp_path / "tests.csv")
    assert len(tests) == 4 * 6
    assert tests.loc[tests["score"] == "size", "size_gain"].tolist() == [0] * 4
    run_again(main, tmp_path, inputs, monkeypatch)


def scored(better: float) -> pd.DataFrame:
    """Sizes that tell right from wrong and nothing else; softmax that tells nothing."""
    rng = np.random.default_rng(0)
    groups = ["digit"] * 60 + ["rotated"] * 30 + ["noisy"] * 30 + ["letter"] * 30
    right = np.array([place % 2 == 0 for place in range(60)] + [False] * 90)
    size = np.tile(np.linspace(0.2, 0.4, 30).repeat(2), 3)[:150] + better * (right * 1.0)
    softmax = rng.uniform(0.3, 1, 150)
    return pd.DataFrame(
        {"sample": range(150), "group": groups, "right": right, "size": size, "recovery": size, "softmax": softmax}
    ).assign(energy=softmax)


def test_sentences_follow_the_numbers() -> None:
    inputs = scored(0.5)
    first, second = conclude(inputs, compare(inputs), calibrate(inputs))
    assert "right or wrong with an AUROC of 1.00 (1.00 to 1.00), better than maximum softmax probability" in first
    assert "so size tells where confidence is deserved" in second
    inputs = scored(0.0)
    first, second = conclude(inputs, compare(inputs), calibrate(inputs))
    assert "right or wrong with an AUROC of 0.50" in first
    assert "not surely off chance" in first
    assert "so size does not surely tell where confidence is deserved" in second


def test_outliers_are_what_they_are_called() -> None:
    digit = Digits([3])[0]
    assert torch.equal(torch.rot90(rotated(digit).input, -1, dims=(1, 2)), digit.input)
    moved = noisy(digit).input
    assert torch.equal(moved, noisy(digit).input)
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert 0.05 < (moved - digit.input).std() < 0.3
    found = letters(60)
    assert len({letter.name for letter in found}) == 60
    assert all(letter.input.shape == (1, 8, 8) and letter.input.max() == 1 for letter in found)
    with pytest.raises(ValueError, match="there are 200 letters"):
        letters(201)
