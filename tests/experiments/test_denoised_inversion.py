from pathlib import Path

import pytest

from experiments.denoised_inversion import SCALES, main
from readout.representation import linear_distance, linear_size
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_denoises_in_front_of_two_networks_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves, scale = run(main, tmp_path), SCALES["smoke"]
    linear = curves[curves["network"] == "linear"].pivot(index="level", columns="denoiser", values="distance")
    expected = linear_distance(linear.index.to_numpy(), scale.features / scale.dimensions)
    assert linear["none"].to_numpy() == pytest.approx(expected, abs=0.02)
    # noise along K of D dimensions is left while the support is right, and d_X never falls below that
    least = linear_distance(linear.index.to_numpy(), scale.features / scale.sparsity)
    assert linear["pursuit"].to_numpy()[:4] == pytest.approx(least[:4], abs=0.02)
    assert linear_size(0.1, 2) == pytest.approx(0.175, abs=1e-3)
    assert "denoised by pursuit 0.4" in (tmp_path / "result.txt").read_text(encoding="utf-8")
    run_again(main, tmp_path, curves, monkeypatch)
