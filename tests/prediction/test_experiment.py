import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


def run(output: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "experiments.prediction", "--scale", "smoke", "--output", str(output)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_experiment_ends_in_tables_a_figure_and_two_sentences_and_resumes(tmp_path: Path) -> None:
    run(tmp_path)
    points = pd.read_csv(tmp_path / "points.csv")
    assert points.groupby("readout").size().to_dict() == {"dip": 12, "pixels": 12}
    assert points["predicted_distance"].between(0, 1).all()
    sizes = pd.read_csv(tmp_path / "sizes.csv")
    assert len(sizes) == 12
    summary = pd.read_csv(tmp_path / "summary.csv").set_index(["readout", "prediction", "measurement"])
    dip = points[points["readout"] == "dip"]
    error = (dip["predicted_distance"] - dip["best_distance"]).abs().mean()
    assert summary.loc[("dip", "predicted", "best iterate"), "curve_error"] == pytest.approx(error)
    assert all((tmp_path / "figures" / f"prediction.{kind}").is_file() for kind in ("png", "svg"))
    text = (tmp_path / "result.txt").read_text(encoding="utf-8")
    assert "rank correlation" in text
    # what is measured is not measured again
    assert run(tmp_path).count("nothing left to do") == 2
    assert pd.read_csv(tmp_path / "points.csv")["best_distance"].tolist() == points["best_distance"].tolist()
