import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from readout.analysis import drawn
from readout.analysis.drawn import MOST_DRAWN, drawn_inputs
from readout.analysis.report import report
from readout.store import ResultStore
from tests.analysis.helpers import make_results


def test_inputs_are_drawn_whole_those_on_the_page_first(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.DataFrame({"sample": np.repeat(list("abcdefgh"), 3)})
    assert drawn_inputs([table]) == list("abcdefgh")
    monkeypatch.setattr(drawn, "MOST_DRAWN", 10)
    chosen = drawn_inputs([table], ["g", "b"])
    assert (chosen[:2], len(chosen)) == (["g", "b"], 3)
    assert chosen == drawn_inputs([table.iloc[::-1]], ["g", "b"])
    assert drawn_inputs([table, table], ["g", "b"]) == ["g", "b"]  # three more of each would be 18
    assert drawn_inputs([table], list("abcde")) == list("abcde")
    monkeypatch.setattr(drawn, "MOST_DRAWN", 2)
    assert len(drawn_inputs([table])) == 1


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 20,000 problems: 5,000 inputs at two layers and two levels."""
    store = ResultStore(tmp_path_factory.mktemp("many"))
    rows = make_results({(layer, f"{place:04d}"): (0.0, 0.2) for layer in ("early", "late") for place in range(5000)})
    rows["distance"] += np.random.default_rng(0).normal(0, 0.01, len(rows))
    store.append(rows, [torch.tensor([])] * len(rows))
    return store.folder


def test_a_page_of_many_problems_draws_some_of_them_and_says_so(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, addressed = [], []
    load, readable_path = ResultStore.load, ResultStore.readable_path

    def watched_load(store: ResultStore, *arguments: Any, **options: Any) -> pd.DataFrame:
        loaded.append((arguments, options))
        return load(store, *arguments, **options)

    def watched_path(store: ResultStore, row: dict[str, Any], suffix: str) -> Path:
        addressed.append(row["key"])
        return readable_path(store, row, suffix)

    monkeypatch.setattr(ResultStore, "load", watched_load)
    monkeypatch.setattr(ResultStore, "readable_path", watched_path)
    page = report([many]).read_text()
    (written,) = re.findall(r'id="data"[^>]*>(.*?)</script>', page, flags=re.S)
    data = json.loads(written)
    assert len(data["problems"]) == len(addressed) == MOST_DRAWN
    assert page.count("Dots are shown for 2,500 of 5,000 inputs; everything else is over all.") == 2
    assert "mean over 2,500 of 5,000 inputs" in page
    early = data["series"][0]
    assert (early["count"], len(early["sizes"]), early["problems"]) == (5000, 2500, 5000)
    assert early["curve"][1][-1] == 5000
    assert all(curve["steps"] == [0, 5, 10] for curve in early["trajectories"])
    assert len(page) < 4e6
    # trajectories are loaded for what is drawn, and two columns of them
    assert not any(flag for arguments, _ in loaded for flag in arguments)
    lists = [options for _, options in loaded if "trajectory_step" in options.get("columns", ())]
    assert [(options["columns"], len(options["keys"])) for options in lists] == [
        (["key", "trajectory_step", "trajectory_distance"], MOST_DRAWN)
    ]
