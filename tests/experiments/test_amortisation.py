from pathlib import Path

import pytest

from experiments.amortisation import main
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_reads_codes_in_three_regimes_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(main, tmp_path)
    codes = found.set_index(["regime", "method"])["codes"]
    assert codes["dictionary known", "FISTA"] > 0.98 > codes["dictionary known", "one pass"]
    # iterations on atoms that are known: nothing is lost by learning
    assert codes["both unknown", "alternating + FISTA"] > codes["both unknown", "ReLU autoencoder"] + 0.2
    assert (found["best_linear"].round(3) == 0.707).all()
    run_again(main, tmp_path, found, monkeypatch)
