"""The project's conscience: a pipeline whose every number is known in closed form."""

from pathlib import Path

import pandas as pd
import pytest

from readout import cli, load_results
from readout.representation import linear_distance, linear_size

INPUT_DIM = 3 * 16 * 16


@pytest.mark.parametrize("expansion", [4, 8, 32])
def test_the_whole_pipeline_meets_the_closed_form(tmp_path: Path, expansion: int) -> None:
    arguments = ["fit", "--config", "linear_check.yaml", "--sweep.output", str(tmp_path / "out")]
    arguments += ["--model.extractor.expansion", str(expansion)]
    arguments += ["--model.optimizer.lr", str(expansion * INPUT_DIM / 2)]
    assert cli.main(arguments) == 0
    results = load_results(tmp_path / "out")
    means = results.groupby("level")["distance"].mean()
    assert means.index.tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    for level, distance in means.items():
        assert distance == pytest.approx(float(linear_distance(float(str(level)), expansion)), abs=0.02)
    sizes = pd.read_csv(tmp_path / "out" / "sizes.csv")
    assert (sizes["estimator"] == "crossing").all()
    assert sizes["representation_size"].mean() == pytest.approx(linear_size(0.1, expansion), abs=0.02)
    assert sizes["flags"].isna().all()
    assert (results["feature_dim"] == expansion * INPUT_DIM).all()
