import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from experiments import stopping
from experiments.stopping import main
from experiments.summaries.stopping import find_stops, follow
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_follows_every_condition_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stops = run(main, tmp_path)
    scale = stopping.SCALES["smoke"]
    assert len(stops) == len(scale.conditions) * len(scale.images)
    assert (stops["best"] >= stops["end"]).all()
    steps = pd.read_csv(tmp_path / "steps.csv")
    assert sorted(steps["step"].unique()) == list(range(0, 61, 4))
    last = steps[steps["step"] == 60].set_index(["rate", "filters", "sample"])["size"]
    ends = stops.set_index(["rate", "filters", "sample"])["end"]
    pd.testing.assert_series_equal(last.sort_index(), ends.sort_index(), check_names=False)
    run_again(main, tmp_path, stops, monkeypatch)
    # a finished sweep's folder is taken in beside the script's own, under the settings that its configuration tells
    folder = shutil.copytree(tmp_path / "rate=0.01_filters=8-16", tmp_path / "finished")
    model = {"prior": {"init_args": {"filters": [2, 4]}}, "optimizer": {"init_args": {"lr": 0.5}}}
    config = {"model": {"init_args": model}, "trainer": {"max_steps": 60}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    main(["--scale", "smoke", "--output", str(tmp_path), "--runs", str(folder)])
    more = pd.read_csv(tmp_path / "stopping.csv")
    added = more[more["rate"] == 0.5]
    assert len(more) == len(stops) + len(scale.images)
    assert (added["filters"] == "2-4").all()
    assert added["end"].tolist() == stops["end"][: len(added)].tolist()


def test_stops_of_known_trajectories() -> None:
    shared: dict[str, Any] = {"rate": 0.1, "filters": "2-4", "max_steps": 4, "layer": "l", "sample": "s"}
    shared |= {"steps": 4, "input_dim": 507, "trajectory_step": [0, 1, 2, 3, 4]}
    courses = {
        0.0: ([1.0, 0.5, 0.2, 0.1, 0.0], [9, 4, 3, 2, 1], 0.0),
        0.4: ([1.0, 0.1, 0.1, 0.2, 0.3], [9, 4, 3, 2, 1], 3.0),  # the discrepancy is reached at step 2
        0.8: ([1.0, 0.4, 0.1, 0.4, 0.6], [9, 4, 3, 2, 1], 3.5),
    }
    rows = [
        {**shared, "level": level, "feature_distance": level, "floor": floor, "trajectory_loss": loss}
        | {"trajectory_distance": course, "distance": course[-1]}
        | {"best_distance": min(course), "best_step": course.index(min(course))}
        for level, (course, loss, floor) in courses.items()
    ]
    results = pd.DataFrame(rows)
    steps = follow(results, 0.3)
    # isotonic d_X over levels 0, 0.4, 0.8, read at 0.3
    assert steps["size"].tolist() == pytest.approx([0, 0, 0.8, 0.6, 0.4])
    assert steps["distance"].tolist() == courses[0.8][0]
    assert steps["path"].tolist() == pytest.approx([0, 0.1, 0.175, 0.225, 0.25])
    stops = find_stops(results, steps, 0.3).iloc[0]
    assert stops[["end", "best", "discrepancy", "common"]].tolist() == pytest.approx([0.4, 0.8, 0.8, 0.8])
    assert stops[["end_step", "best_step", "discrepancy_step", "common_step"]].tolist() == [4, 1.5, 2, 2]
    assert stops["weights_per_value"] == pytest.approx(1)
