from pathlib import Path

import pandas as pd
import pytest

from experiments.phase_transition import L1, SCALES, conclude, find_lines, main
from readout.code_theory import donoho_tanner
from tests.experiments.helpers import run
from tests.helpers import read_table


@pytest.mark.slow
def test_half_of_the_codes_are_recovered_near_the_theory_of_large_dictionaries(tmp_path: Path) -> None:
    shares = run(main, tmp_path)
    assert len(shares) == 3 * 2 * 5 * 5
    lines = read_table(tmp_path / "lines.csv")
    halves = {case: line["rho"].to_numpy() for case, line in lines.groupby(["coder", "nonnegative"])}
    for nonnegative in (True, False):
        own = lines[(lines["coder"] == L1) & (lines["nonnegative"] == nonnegative)]
        assert own["theory"].tolist() == pytest.approx(donoho_tanner(own["delta"], nonnegative).tolist())
        # 40 atoms and 20 codes per point
        assert (own["rho"] - own["theory"]).abs().max() < 0.12
        for other in ("OMP", "one pass"):
            assert halves[other, nonnegative].mean() < halves[L1, nonnegative].mean() - 0.1
    # signs are worth knowing
    assert (halves[L1, True] > halves[L1, False]).all()


def test_lines_and_sentences_of_known_shares() -> None:
    shares = pd.DataFrame(
        [
            {"coder": coder, "nonnegative": True, "delta": 0.5, "rho": rho, "share": share}
            for coder, known in ((L1, (1.0, 0.9, 0.1)), ("one pass", (0.4, 0.1, 0.0)))
            for rho, share in zip((0.2, 0.5, 0.6), known, strict=True)
        ]
    )
    lines = find_lines(shares)
    assert lines["rho"].tolist() == pytest.approx([0.55, 0.0])
    first, second = conclude(lines, SCALES["smoke"])
    assert "holds for non-negative codes (1 of 1 δ within 0.03, 0.008 away" in first
    assert f"0.550 by {L1} of non-negative codes" in second
    assert "less than 0.167 by one pass" in second
