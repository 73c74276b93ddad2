from pathlib import Path

import pandas as pd
import pytest

from experiments.hit_or_miss import SCALES, compare, conclude, main
from readout.data import Digits
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_it_compares_hits_with_misses_of_the_same_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = run(main, tmp_path)
    training = SCALES["smoke"].training
    assert training is not None
    first = sizes[sizes["layer"] == "conv1"]
    names = {label: first.loc[first["label"] == label, "sample"].tolist() for label in ("hit", "miss")}
    places = {label: [int(name.removeprefix("digit_")) for name in chosen] for label, chosen in names.items()}
    classes = {label: sorted(Digits(chosen).labels().tolist()) for label, chosen in places.items()}
    assert len(classes["hit"]) == 6
    assert classes["hit"] == classes["miss"]
    assert {*names["hit"], *names["miss"]} <= {sample.name for sample in training.test()}
    # recovery falls with depth, whatever the network
    means = sizes.groupby("layer")["mean_distance"].mean()
    assert means["conv1"] < means["conv4"]
    run_again(main, tmp_path, sizes, monkeypatch)


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        (1, "larger sizes than 9 misses at late and smaller ones at no layer"),
        (-1, "larger sizes than 9 misses at no layer and smaller ones at late"),
    ],
)
def test_sentences_follow_the_numbers(sign: int, words: str) -> None:
    rows = [
        {"layer": layer, "sample": f"{label}{place}", "label": label, "size": 0.5 + gap * hit + 0.01 * place}
        for layer, gap in (("early", 0.0), ("late", 0.2 * sign))
        for label, hit in (("hit", 1), ("miss", 0))
        for place in range(9)
    ]
    sizes = pd.DataFrame(rows).assign(mean_distance=lambda table: 1 - table["size"])
    tests = compare(sizes)
    aucs = tests[tests["measure"] == "size"].set_index("layer")["auc"]
    assert aucs["early"] == 0.5
    assert aucs["late"] == (1 if sign > 0 else 0)
    first, second = conclude(sizes, tests, 0.9)
    assert words in first
    assert f"fall {'less' if sign > 0 else 'more'} steeply than those of misses" in second
