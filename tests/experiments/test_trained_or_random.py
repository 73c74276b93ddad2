from pathlib import Path

import pandas as pd
import pytest

from experiments.shared.reading import READOUTS
from experiments.summaries.trained_or_random import compare_groups, compare_networks, conclude
from experiments.trained_or_random import main
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_it_follows_the_same_inputs_along_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = run(main, tmp_path)
    digits = sizes[sizes["model"] == "classifier"]
    assert digits.groupby(["readout", "epoch", "layer", "label"]).size().unique().tolist() == [4]
    assert digits["readout"].unique().tolist() == list(READOUTS)
    assert digits["epoch"].unique().tolist() == [0, 12]
    assert digits.groupby(["layer", "sample"])["epoch"].nunique().eq(2).all()
    assert sizes[sizes["model"] == "VGG19"].groupby("epoch")["sample"].nunique().tolist() == [2, 2]
    gains = pd.read_csv(tmp_path / "gains.csv").set_index(["model", "readout", "layer"])
    natural = digits[(digits["layer"] == "conv2") & (digits["label"] != "noise") & (digits["readout"] == "class")]
    means = natural.groupby("epoch")["size"].mean()
    assert gains.loc[("classifier", "class", "conv2"), "gain"] == pytest.approx(means[12] - means[0])
    run_again(main, tmp_path, sizes, monkeypatch)


def test_sentences_follow_the_numbers() -> None:
    groups = {"hit": 0.0, "miss": 0.0, "noise": -0.3}
    rows = [
        {"epoch": epoch, "layer": layer, "sample": f"{label}{place}", "label": label,
         "size": 0.5 + gain * epoch + shift * epoch + 0.01 * place}
        for epoch in (0, 1)
        for layer, gain in (("early", 0.0), ("late", 0.1))
        for label, shift in groups.items()
        for place in range(8)
    ]  # fmt: skip
    stages = pd.DataFrame(rows).assign(readout="class")
    splits, gains = compare_groups(stages), compare_networks(stages, stages[:0])
    assert gains["gain"].tolist() == pytest.approx([0, 0.1])
    first, second = conclude(splits, gains)
    assert first.startswith("Sizes by class differ")
    assert "natural or noise: no sure difference at any layer, mean AUC 0.50 before training" in first
    assert "larger at early, late, mean AUC 1.00 after it" in first
    assert "hit or miss: no sure difference at any layer, mean AUC 0.50 before training and no sure difference" in first
    assert "of the same 16 images in the classifier are, after training, larger at late (early +0.000 (+0.000" in second
