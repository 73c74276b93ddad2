from pathlib import Path

import pandas as pd
import pytest

from experiments.consistency import HIERARCHY, conclude, main
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_it_ends_in_agreement_beside_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = run(main, tmp_path)
    assert table.groupby("data", sort=False)["learner"].nunique().tolist() == [4, 4, 4]
    assert table["pwmcc"].between(0, 1).all()
    for _, own in table[table["data"] != HIERARCHY].groupby("data"):
        by_learner = own.set_index("learner")[["pwmcc", "mcc"]]
        assert (by_learner.idxmax() == "alternating").all()
        assert by_learner["mcc"]["alternating"] > 0.9  # after a third of the steps of scale cpu
        assert by_learner["mcc"].idxmin() == "random"
    of_tree = table[table["data"] == HIERARCHY].set_index("learner")
    assert of_tree["pwmcc"]["alternating"] > of_tree["mcc"]["alternating"]
    run_again(main, tmp_path, table, monkeypatch)


def test_sentences_follow_the_numbers() -> None:
    planted = [
        {"data": f"N {n}", "learner": learner, "pwmcc": agreement - n / 100, "mcc": agreement + 0.01 - n / 100}
        for learner, agreement in {"random": 0.4, "alternating": 0.9, "ReLU": 0.6}.items()
        for n in range(6)
    ]
    tree = [
        {"data": HIERARCHY, "learner": learner, "pwmcc": agreement, "mcc": 0.8}
        for learner, agreement in {"random": 0.4, "alternating": 0.9, "ReLU": 0.7}.items()
    ]
    first, second = conclude(pd.DataFrame(planted + tree))
    assert "tracks the truth holds: over 12 pairs" in first
    assert "differs from MCC by 0.01 on average" in first
    assert "random dictionaries have 0.35 to 0.40" in first
    assert "agree more than they are true holds in part" in second
    assert "alternating 0.90 and 0.80, ReLU 0.70 and 0.80" in second
