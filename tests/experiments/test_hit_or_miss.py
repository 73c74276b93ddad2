from pathlib import Path

import pandas as pd
import pytest

from experiments.hit_or_miss import compare, main
from experiments.shared.digits import SMOKE
from experiments.shared.harness import Experiment
from experiments.shared.reading import READOUTS
from experiments.shared.task import ImageNet
from experiments.summaries.hit_or_miss import conclude
from readout.common.errors import ReadoutError
from readout.data import Digits
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_it_compares_hits_with_misses_of_the_same_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = run(main, tmp_path)
    assert sizes.groupby(["readout", "layer"], sort=False).size().to_dict() == {
        (readout, layer): 12 for readout in READOUTS for layer in ("conv1", "conv4")
    }
    first = sizes[(sizes["layer"] == "conv1") & (sizes["readout"] == "class")]
    names = {label: first.loc[first["label"] == label, "sample"].tolist() for label in ("hit", "miss")}
    places = {label: [int(name.removeprefix("digit_")) for name in chosen] for label, chosen in names.items()}
    classes = {label: sorted(Digits(chosen).labels().tolist()) for label, chosen in places.items()}
    assert len(classes["hit"]) == 6
    assert classes["hit"] == classes["miss"]
    assert {*names["hit"], *names["miss"]} <= {sample.name for sample in Digits().split(SMOKE.images)[1]}
    # recovery falls with depth, whatever the network
    means = sizes[sizes["readout"] == "inversion"].groupby("layer")["mean_distance"].mean()
    assert means["conv1"] < means["conv4"]
    run_again(main, tmp_path, sizes, monkeypatch)


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        (1, "larger sizes than misses at late and smaller ones at no layer"),
        (-1, "larger sizes than misses at no layer and smaller ones at late"),
    ],
)
def test_sentences_follow_the_numbers(sign: int, words: str) -> None:
    rows = [
        {"layer": layer, "sample": f"{label}{place}", "label": label, "size": 0.5 + gap * hit + 0.01 * place}
        for layer, gap in (("early", 0.0), ("late", 0.2 * sign))
        for label, hit in (("hit", 1), ("miss", 0))
        for place in range(9)
    ]
    sizes = pd.DataFrame(rows).assign(mean_distance=lambda table: 1 - table["size"], readout="inversion", softmax=0.8)
    tests = compare(sizes)
    found = tests[tests["measure"] == "size"].set_index("layer")
    assert found["auc"].to_dict() == {"early": 0.5, "late": 0.5 + 0.5 * sign, "slope": 0.5 + 0.5 * sign}
    assert found["gain"].to_dict() == pytest.approx({"early": 0, "late": 0.5 * sign, "slope": 0.5 * sign})
    first, second = conclude(sizes, tests, 0.9)
    assert first.startswith("The network names 90.0 % of its test images correctly")
    assert "9 hits from 9 misses of the same classes with an AUC of 0.50" in first
    assert words in second
    assert f"better than by softmax at {'late' if sign > 0 else 'no layer'};" in second
    assert f"the sizes of hits fall {'less' if sign > 0 else 'more'} steeply" in second


def test_imagenet_has_a_thousand_classes(tmp_path: Path) -> None:
    (tmp_path / "n01440764").mkdir()
    with pytest.raises(ReadoutError, match="The images are of 1 classes; give ImageNet's 1,000, a folder each"):
        ImageNet().network(Experiment("hit_or_miss", None, tmp_path, images=tmp_path))
