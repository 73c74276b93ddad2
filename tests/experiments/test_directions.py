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
    assert counts.to_dict() == {(readout, name): 12 for readout in ("class", "image") for name in directions(1)}
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
    first, second = conclude(summarise(sizes), compare(sizes))
    assert "isotropic early 0.80, late 0.80; tangent early 0.25, late 0.25" in first
    assert "noise that tangent noise lacks: early 69 %, late 69 %" in first
    assert "isotropic 0.50 (" in second
    assert "tangent 1.00 (1.00 to 1.00; early)" in second
    assert second.endswith("largest softmax probability with 0.50 (0.50 to 0.50).")
