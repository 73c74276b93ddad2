"""Classes read from features of several sizes, moved in every direction."""

from pathlib import Path

import pytest

from readout import cli, load_results


@pytest.mark.parametrize("name", ["TangentPerturbation", "NearestLoss", "UnitLoss", "Toward"])
def test_a_sweep_over_all_layers_reads_classes(tmp_path: Path, name: str) -> None:
    arguments = ["fit", "--config", "digits_class.yaml", "--sweep.perturbation", name, "--data.limit", "3"]
    arguments += ["--sweep.draws", "1", "--sweep.levels", "[0, 0.9]", "--sweep.output", str(tmp_path)]
    assert cli.main(arguments) == 0
    results = load_results(tmp_path).set_index(["layer", "level"])
    assert len(results) == 6 * 2 * 3
    assert (results.xs(0, level="level")["verdict"] == "recovered").all()
    moved = results.xs(0.9, level="level")
    if name == "NearestLoss":
        assert (moved["verdict"] == "unrecovered").all()
        assert moved["feature_distance"].to_numpy() == pytest.approx(0.9, abs=1e-3)
    if name == "UnitLoss":  # all ten logits are lost, which leaves a constant
        assert (moved.loc[["logits"], "verdict"] == "failed").all()
        assert (moved.drop("logits")["verdict"] != "failed").all()
