from pathlib import Path

import pandas as pd
import pytest
import torch

from experiments import misrepresentation
from experiments.misrepresentation import main
from experiments.summaries.misrepresentation import find_flips
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_finds_both_ends_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = run(main, tmp_path)
    scale = misrepresentation.SCALES["smoke"]
    assert len(points) == len(scale.images) * len(scale.layers) * (2 * len(scale.shares) + len(scale.levels))
    ways = points[points["path"] != "noise"].groupby("level")
    to_x, to_y = ways["to_x"].mean().to_dict(), ways["to_y"].mean().to_dict()
    # a shallow layer of an untrained network is nearly linear: it reads x at one end and y at the other
    assert to_x[0] < 0.3 < to_y[0]
    assert to_y[0.98] < 0.3 < to_x[0.98]
    middle = points[(points["level"] == 0.5) & (points["path"] == "line")]
    assert (middle["to_mixture"] < middle[["to_x", "to_y"]].min(axis=1)).all()
    assert len(pd.read_csv(tmp_path / "flips.csv")) == 2 * len(scale.images)
    run_again(main, tmp_path, points, monkeypatch)


def test_distances_know_a_mixture() -> None:
    x, y, z = (torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    to_x, to_y, to_mixture = misrepresentation.distances(0.3 * x + 0.4 * y + 0.1, x, y)
    assert to_mixture == pytest.approx(0, abs=1e-9)
    assert min(to_x, to_y) > 0.05
    assert misrepresentation.read_as(to_x, to_y, to_mixture, 0.05) == "both"
    to_x, to_y, to_mixture = misrepresentation.distances(z, x, y)
    assert misrepresentation.read_as(to_x, to_y, to_mixture, 0.05) == "neither"
    assert misrepresentation.read_as(*misrepresentation.distances(y, x, y), 0.05) == "y"


def test_flips_of_a_known_way() -> None:
    shares = [0.0, 0.25, 0.5, 0.75, 0.98]
    way = {"level": shares, "to_x": shares, "to_y": [1 - share for share in shares], "to_mixture": 0.0}
    way |= {"feature_distance": [share / 2 for share in shares], "read_as": ["x", "x", "both", "y", "y"]}
    noise = {"level": [0.0, 0.9], "to_x": [0.0, 0.9], "feature_distance": [0.0, 0.9]}
    shared = {"layer": "l", "sample": "s", "toward": "t"}
    points = pd.concat(
        [pd.DataFrame(way).assign(path="line", **shared), pd.DataFrame(noise).assign(path="noise", **shared)]
    )
    flip = find_flips(points, 0.3).iloc[0]
    assert flip["x_ends"] == pytest.approx(0.3)
    assert flip["y_begins"] == pytest.approx(0.7)
    assert flip["size_toward_y"] == pytest.approx(0.15)
    assert flip["size_in_noise"] == pytest.approx(0.3)
    assert (flip["points_between"], flip["read_as_both"]) == (1, 1)
