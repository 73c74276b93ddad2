"""Codes through the whole command line, against the closed form."""

from pathlib import Path

import pytest

from readout import cli, load_results
from readout.code_theory import support_probability, support_size


def test_sizes_of_codes_without_superposition_are_those_of_the_closed_form(tmp_path: Path) -> None:
    arguments = ["fit", "--config", "superposition_check.yaml", "--sweep.output", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    results = load_results(tmp_path / "out")
    kept = (results["verdict"] == "recovered").groupby(results["level"]).mean()
    expected = support_probability(kept.index[1:], active=4, atoms=64, dimension=64)
    assert kept.iloc[1:].tolist() == pytest.approx(expected.tolist(), abs=0.06)  # 400 codes: 2.4 standard errors
    sizes = results[results["verdict"] == "recovered"].groupby("sample")["level"].max()
    assert sizes.median() == pytest.approx(support_size(active=4, atoms=64, dimension=64), abs=0.02)
