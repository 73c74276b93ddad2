from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.diagnosis import main
from experiments.shared.outliers import letters, noisy, rotated, scenes
from experiments.shared.reading import READOUTS
from experiments.summaries.diagnosis import calibrate, compare, conclude
from readout.data import Digits
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_every_group_has_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = run(main, tmp_path)
    assert inputs["group"].value_counts().to_dict() == {
        "usual": 12,
        "rotated": 5,
        "noisy": 5,
        "other": 5,
        "more": 4,
    }
    assert not inputs.loc[inputs["group"].isin(["more", "other"]), "right"].any()
    assert inputs["softmax"].between(0.1, 1).all()
    for readout in READOUTS:
        layers = inputs[[f"{readout} conv1", f"{readout} conv3"]]
        assert inputs[readout].tolist() == pytest.approx(layers.mean(axis=1).tolist())
    tests = pd.read_csv(tmp_path / "tests.csv")
    assert len(tests) == 4 * (7 + 4 * 2)
    assert tests.loc[tests["score"] == "softmax", "gain"].tolist() == [0] * 4
    run_again(main, tmp_path, inputs, monkeypatch)


def scored(better: float) -> pd.DataFrame:
    """Sizes that tell right from wrong and nothing else; softmax that tells nothing."""
    rng = np.random.default_rng(0)
    groups = ["usual"] * 60 + ["rotated"] * 30 + ["noisy"] * 30 + ["other"] * 30
    right = np.array([place % 2 == 0 for place in range(60)] + [False] * 90)
    size = np.tile(np.linspace(0.2, 0.4, 30).repeat(2), 3)[:150] + better * (right * 1.0)
    softmax = rng.uniform(0.3, 1, 150)
    table = pd.DataFrame({"sample": range(150), "group": groups, "right": right, "recovery": size, "softmax": softmax})
    scores = {readout: size if readout == "decoder" else np.full(150, 0.5) for readout in READOUTS}
    return table.assign(energy=softmax, **scores, **{f"{readout} conv": score for readout, score in scores.items()})


def test_sentences_follow_the_numbers() -> None:
    inputs = scored(0.5)
    first, *_, last = conclude(inputs, compare(inputs), calibrate(inputs))
    assert first.startswith("Right or wrong (30 and 30)")
    assert "by class 0.50 (not surely off chance)" in first
    assert "by decoder 1.00 (better than softmax)" in first
    assert "decoder conv is best with 1.00 (1.00 to 1.00)" in first
    assert last.endswith("in that of largest (surely different).")
    inputs = scored(0.0)
    first, *_, last = conclude(inputs, compare(inputs), calibrate(inputs))
    assert "by decoder 0.50 (not surely off chance)" in first
    assert last.endswith("in that of largest (not surely different).")


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
    assert [scene.input.shape for scene in scenes(2)] == [(3, 32, 32)] * 2
