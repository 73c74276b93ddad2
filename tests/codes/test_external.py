"""Codes of features from a file."""

from pathlib import Path

import numpy as np
import pytest

from readout import cli, load_results
from readout.codes import GaussianDictionary


def test_the_code_of_a_feature_from_a_file_is_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    atoms = GaussianDictionary(16, 8).atoms.numpy()
    np.savez("features.npz", superposition=2 * atoms[3:4] + atoms[7:8])
    arguments = ["invert", "--config", "superposition.yaml", "--features", "features.npz", "--output", "out"]
    assert cli.main([*arguments, "--trainer.max_steps", "200", "--model.coder.active", "2"]) == 0
    assert len(load_results("out")) == 1
    assert "3: 2, 7: 1" in Path("out/report.html").read_text(encoding="utf-8")
