from pathlib import Path

import pandas as pd
import pytest

from experiments.natural_or_noise import SCALES, main
from experiments.summaries.natural_or_noise import compare, conclude
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_inverts_every_kind_in_both_ways_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = run(main, tmp_path)
    kinds = list(SCALES["smoke"].kinds)
    assert results.groupby(["readout", "kind"]).size().to_dict() == {
        (readout, kind): 6 for readout in ("dip", "pixels") for kind in kinds
    }
    clean = results[(results["readout"] == "pixels") & (results["level"] == 0)]
    assert (clean["distance"] < 0.05).all()  # without a prior, a first layer gives noise as readily as photographs
    tests = pd.read_csv(tmp_path / "tests.csv")
    assert len(tests) == 2 * (len(kinds) - 1)
    assert (tests["p"] >= tests["p_raw"]).all()
    run_again(main, tmp_path, results, monkeypatch)


def sizes(readout: str, natural: float, noise: float) -> pd.DataFrame:
    """Sizes of six images of each kind at one layer."""
    rows = [
        {"kind": kind, "sample": f"{kind}/s{place}" if "_s" in kind else f"s{place}", "crossing": size + 0.01 * place}
        for kind, size in (
            ("photographs", natural),
            ("phase_scrambled", natural),
            ("pixel_shuffled", noise),
            ("uniform_noise", noise),
        )
        for place in range(6)
    ]
    return pd.DataFrame(rows).assign(readout=readout, layer="l", lower_bound=False)


def test_comparisons_and_sentences_follow_the_numbers() -> None:
    table = pd.concat([sizes("dip", 0.7, 0.1), sizes("pixels", 0.5, 0.4)], ignore_index=True)
    tests = compare(table)
    dip = tests[tests["readout"] == "dip"].set_index("kind")
    assert dip["difference"].to_dict() == pytest.approx(
        {"phase_scrambled": 0, "pixel_shuffled": 0.6, "uniform_noise": 0.6}
    )
    assert dip["p_raw"].to_dict() == pytest.approx(
        # equal pairs; all of 2⁶ sign patterns; all of 12 choose 6 orders, with ties none
        {"phase_scrambled": 1, "pixel_shuffled": 2 / 64, "uniform_noise": 2 / 924}
    )
    assert dip["auc"].to_dict() == pytest.approx({"phase_scrambled": 0.5, "pixel_shuffled": 1, "uniform_noise": 1})
    assert dip["p"]["uniform_noise"] == pytest.approx(3 * 2 / 924)
    results = table.assign(level=0.0, verdict=["recovered" if r == "pixels" else "lost" for r in table["readout"]])
    first, second = conclude(results, table, tests)
    assert "6 images of each kind" in first
    assert "the prior reads 0 of 6 and pixels 6 of 6" in second
    assert "+0.60 with the prior" in second
    assert "+0.10 with pixels" in second
    assert "so less of it is left" in second
