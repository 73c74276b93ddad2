"""The project's conscience: a pipeline whose every number is known in closed form."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from readout import cli, load_results
from readout.extractors import OrthonormalLinear
from readout.perturbations import noise_to_signal
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


def measured_share(folder: Path) -> Path:
    """Residuals in a file, of which a known share lies in the tangent space: half as much as of isotropic noise."""
    (weight,) = (each.detach().double() for each in OrthonormalLinear((3, 16, 16), expansion=8).parameters())
    trials = torch.randn(400, len(weight), generator=torch.Generator().manual_seed(0)).double()
    tangent = trials @ weight @ weight.T
    path = folder / "residuals.npy"
    np.save(path, (trials - tangent + 0.5**0.5 * tangent).numpy())
    return path


HALF = 0.5 * (1 / 8) / (7 / 8 + 0.5 / 8)
"""tr(WᵀΣW) / D of these residuals."""

DIRECTIONS: dict[str, Callable[[float, float], float]] = {
    # d_X as a function of level and of the realised d_H
    "TangentPerturbation": lambda level, moved: level,
    "NearestLoss": lambda level, moved: level,  # all directions that are read at all are read equally well
    "NormalPerturbation": lambda level, moved: 0.0,
    "UnitLoss": lambda level, moved: float(linear_distance(level, 8)),
    "Toward": lambda level, moved: moved,
    "ResidualPerturbation": lambda level, moved: 1 - (1 + noise_to_signal(level) ** 2 * HALF) ** -0.5,
}


@pytest.mark.parametrize("name", DIRECTIONS)
def test_every_direction_meets_its_closed_form(tmp_path: Path, name: str) -> None:
    arguments = ["fit", "--config", "linear_check.yaml", "--sweep.output", str(tmp_path / "out")]
    arguments += ["--sweep.perturbation", name]
    if name == "ResidualPerturbation":
        arguments += ["--sweep.perturbation.residuals", str(measured_share(tmp_path))]
        arguments += ["--sweep.perturbation.draw", "covariance"]
    assert cli.main(arguments) == 0
    results = load_results(tmp_path / "out")
    for level, group in results.groupby("level"):
        expected = DIRECTIONS[name](float(str(level)), group["feature_distance"].mean())
        assert group["distance"].mean() == pytest.approx(expected, abs=0.02)
    sizes = pd.read_csv(tmp_path / "out" / "sizes.csv")
    if name == "NormalPerturbation":
        assert (results["distance"] < 1e-4).all()
        assert (sizes["flags"] == "censored").all()
    elif name in ("TangentPerturbation", "Toward"):  # the size is the threshold
        assert sizes["representation_size"].mean() == pytest.approx(0.1, abs=0.02)
