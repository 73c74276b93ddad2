from pathlib import Path

import pytest
import torch

from experiments.planted_brain import Brain, main
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_follows_a_brain_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = run(main, tmp_path)
    assert decoded.groupby("planted")["layer"].agg(list).to_dict() == {
        0.0: ["conv2_1"],
        0.5: ["conv1_2", "conv2_1"],
        0.9: ["conv1_2", "conv2_1"],
    }
    sentences = (tmp_path / "result.txt").read_text(encoding="utf-8")
    assert "shuffled: correlation" in sentences
    assert "ceiling 0.9 residual" in sentences
    run_again(main, tmp_path, decoded, monkeypatch)


@pytest.mark.parametrize("ceiling", [0.3, 0.9])
def test_planted_voxels_have_their_ceiling_and_shared_noise(ceiling: float) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(4000, 4, 8, 8, generator=generator)
    brain = Brain.planted(features, 50)
    found = brain.respond(features, ["first", *map(str, range(3999))], ceiling, repeats=4)
    assert float(found.ceiling.mean()) == pytest.approx(ceiling, abs=0.02)
    assert float(found.signal.mean()) == pytest.approx(1, abs=0.02)
    variances = torch.linalg.eigvalsh(torch.cov(found.residuals().T))
    assert float(variances[-5:].sum() / variances.sum()) == pytest.approx(0.5 + 0.5 * 5 / 50, abs=0.06)
