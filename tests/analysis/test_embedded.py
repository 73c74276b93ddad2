import json
from pathlib import Path

import numpy as np
import pytest

from readout.analysis.embedded import MOST_POINTS, as_script, page_data
from tests.analysis.helpers import in_one_pass, make_output, make_results


def test_every_number_of_the_page_is_that_of_the_results(tmp_path: Path) -> None:
    results = make_results({("early", "a"): (0.0, 0.05), ("early", "b"): (0.0, 0.4), ("late", "a"): (0.0, np.nan)})
    output = make_output(tmp_path / "out", results.assign(ssim=0.5))
    files = {results["key"][1]: "recovered/one.png"}
    data = page_data([output], [output.results], [files], [{"b": "inputs/b.png"}])
    assert data["layers"] == ["early", "late"]
    assert data["samples"] == ["a", "b"]
    assert data["folders"] == [{"name": "out", "threshold": 0.1, "inputs": [None, "inputs/b.png"]}]
    rows = [dict(zip(data["columns"], row, strict=True)) for row in data["problems"]]
    assert rows[1] == {
        "folder": 0,
        "layer": 0,
        "sample": 0,
        "distance": 0.05,
        "feature_distance": 0.51,
        "level": 0.5,
        "draw": 0,
        "loss": 1.0,
        "floor": 2.0,
        "best_distance": 0.025,
        "best_step": 5,
        "steps": 10,
        "restarts": 0,
        "verdict": "recovered",
        "word": None,
        "file": "recovered/one.png",
        "ssim": 0.5,
    }
    assert rows[-1]["distance"] is None
    assert rows[2]["file"] is None
    early, late = data["series"]
    level, moved, distance, low, high, samples = early["curve"][1]
    assert (level, moved, distance, samples) == pytest.approx((0.5, 0.51, 0.225, 2))
    assert low <= 0.225 <= high
    # a was recovered at the highest level tested, b is lost above level 0
    crossing = 0.01 + 0.5 * 0.1 / 0.4
    assert early["sizes"] == [[0, 0.51, True, "censored", 0.51], [1, 0.01, False, "", pytest.approx(crossing)]]
    assert (early["estimator"], early["beside"]) == ("crossing", pytest.approx((0.51 + crossing) / 2))
    assert early["median"] == early["mean"][0] == pytest.approx(0.26)
    assert early["trajectories"][1] == {"level": 0.5, "steps": [0, 5, 10], "distance": [1.0, 0.1125, 0.225]}
    assert late["curve"][0][3:5] == [None, None]  # one sample has no interval


def test_folders_point_into_the_same_names(tmp_path: Path) -> None:
    first = make_output(tmp_path / "a", make_results({("early", "x"): (0.0, 0.1)}))
    second = make_output(tmp_path / "b", make_results({("late", "y"): (0.0, 0.1), ("early", "x"): (0.0, 0.1)}))
    data = page_data([first, second], [first.results, second.results], [{}, {}], [{}, {}])
    assert (data["layers"], data["samples"]) == (["late", "early"], ["x", "y"])
    assert [row[:3] for row in data["problems"]] == [[0, 1, 0]] * 2 + [[1, 0, 1]] * 2 + [[1, 1, 0]] * 2


def test_a_readout_in_one_pass_has_words_and_no_trajectories(tmp_path: Path) -> None:
    results = in_one_pass(make_results({("early", "x"): (0.0, 1.0)}), "ClassReadout")
    results = results.assign(signal="class", true_class="cat", recovered_class=["cat", "dog"], probability=[0.9, 0.2])
    data = page_data([make_output(tmp_path, results)], [results], [{}], [{}])
    rows = [dict(zip(data["columns"], row, strict=True)) for row in data["problems"]]
    assert [(row["word"], row["probability"], row["loss"]) for row in rows] == [("cat", 0.9, None), ("dog", 0.2, None)]
    assert data["series"][0]["trajectories"] == []


def test_long_trajectories_are_thinned_and_keep_their_ends(tmp_path: Path) -> None:
    results = make_results({("early", "x"): (0.0, 0.1)})
    steps = list(range(0, 10001, 25))
    results["trajectory_step"] = [steps] * 2
    results["trajectory_distance"] = [list(np.linspace(1, 0, len(steps)))] * 2
    (series,) = page_data([make_output(tmp_path, results)], [results], [{}], [{}])["series"]
    kept = series["trajectories"][0]
    assert len(kept["steps"]) <= MOST_POINTS + 1
    assert (kept["steps"][0], kept["steps"][-1]) == (0, 10000)
    assert (kept["distance"][0], kept["distance"][-1]) == (1, 0)


def test_a_name_can_not_end_the_script() -> None:
    names = {"layers": ["</script><script>alert(1)</script>", "<!--", "é"]}
    written = as_script(names)
    assert "<" not in written
    assert json.loads(written) == names
