from pathlib import Path

import pandas as pd
import pytest

from experiments.prediction import main
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_it_ends_in_tables_a_figure_and_two_sentences_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = run(main, tmp_path)
    assert points.groupby("readout").size().to_dict() == {"dip": 12, "pixels": 12}
    assert points["predicted_distance"].between(0, 1).all()
    sizes = pd.read_csv(tmp_path / "sizes.csv")
    assert len(sizes) == 12
    summary = pd.read_csv(tmp_path / "summary.csv").set_index(["readout", "prediction", "measurement"])
    dip = points[points["readout"] == "dip"]
    error = (dip["predicted_distance"] - dip["best_distance"]).abs().mean()
    assert summary.loc[("dip", "predicted", "best iterate"), "curve_error"] == pytest.approx(error)
    assert "rank correlation" in (tmp_path / "result.txt").read_text(encoding="utf-8")
    # predictions are made anew; their spread over few probes is a difference of close numbers, down to rounding
    run_again(main, tmp_path, points, monkeypatch, ignoring=["predicted_seconds", "standard_error"])
