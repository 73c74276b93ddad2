from pathlib import Path

import pandas as pd
import pytest

from experiments.directions import compare, directions, main, summarise
from experiments.summaries.directions import conclude
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_reads_in_every_direction_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = run(main, tmp_path)
    counts = sizes.groupby(["readout", "direction"], sort=False).size()
    expected = {"class": 12, "image": 12, "photograph": 6}
    assert counts.to_dict() == {(readout, name): n for readout, n in expected.items() for name in directions(1)}
    of_class = sizes[sizes["readout"] == "class"].groupby("direction")["size"].mean()
    assert of_class["nearest loss"] < of_class["isotropic"]
    run_again(main, tmp_path, sizes, monkeypatch)


def test_sentences_follow_the_numbers() -> None:
    rows = [
        {"readout": "class", "direction": direction, "layer": layer, "sample": f"{label}{place}", "label": label,
         "size": size + 0.001 * place + (0.1 if label == "hit" and direction == "tangent" else 0), "lower_bound": 0.0,
         "softmax": 0.5}
        for direction, size in (("isotropic", 0.8), ("tangent", 0.2))
        for layer in ("early", "late")
        for label in ("hit", "miss")
        for place in range(6)
    ]  # fmt: skip
    sizes = pd.DataFrame(rows)
    by_layer = {"participation_ratio": [4.2, 5, 6], "size": [0.8, 0.5, 0.1], "linear": [0.1, 0.2, 0.3]}
    by_layer |= {"linear_measured": [0.9, 0.6, 0.2]}
    followed = pd.DataFrame({"layer": ["early", "middle", "late"], "sample": "x", "input_dim": 12, **by_layer})
    first, second, third = conclude(summarise(sizes), compare(sizes), followed)
    assert "isotropic early 0.80, late 0.80; tangent early 0.25, late 0.25" in first
    assert "noise that tangent noise lacks: early 69 %, late 69 %" in first
    assert "isotropic 0.50 (" in second
    assert "tangent 1.00 (1.00 to 1.00; early)" in second
    assert second.endswith("largest softmax probability with 0.50 (0.50 to 0.50).")
    assert "early 4 of 12 dimensions, size 0.80, 0.10 and 0.90 expected; middle 5 of 12" in third
    assert third.endswith("with the first -1.00, with the second 1.00.")
