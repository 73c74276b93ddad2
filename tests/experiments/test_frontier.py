from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.frontier import main, with_chance
from readout.metrics import correlation_distance
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_reads_in_every_way_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = run(main, tmp_path)
    names = ["dip", "pixels", "smooth", "linear", "trained"]
    assert points.groupby("readout", sort=False).size().to_dict() == dict.fromkeys(names, 18)
    inverted = points[points["readout"].isin(names[:3])]
    assert (inverted["distance"] < inverted["chance"]).all()
    identified = pd.read_csv(tmp_path / "identified.csv")
    assert (identified["chance"].astype("float32") == np.float32(1 / 43)).all()
    # all noise: no better than a guess; without noise: the image itself
    assert (identified[identified["level"] == 0]["distance"] == 0).all()
    assert identified[identified["level"] == 0.99999]["distance"].max() == 1
    sizes = pd.read_csv(tmp_path / "sizes.csv")
    assert (sizes["frontier"] >= sizes["representation_size"]).all()
    run_again(main, tmp_path, points, monkeypatch)


def test_chance_is_what_other_images_give() -> None:
    images = {
        name: torch.rand(3, 5, 5, generator=torch.Generator().manual_seed(seed)) for seed, name in enumerate("abc")
    }
    results = pd.DataFrame({"layer": "l", "level": 0.5, "draw": 0, "sample": ["c", "a", "b"], "key": ["C", "A", "B"]})
    recovered = {"A": images["a"], "B": images["b"], "C": images["a"]}  # c is taken for a
    table = with_chance(results, images, recovered).set_index("sample")
    between = {x + y: float(correlation_distance(images[x][None], images[y][None])) for x in "abc" for y in "abc"}
    assert table["chance"].to_dict() == pytest.approx(
        {"a": between["ba"] / 2, "b": between["ab"], "c": (between["ac"] + between["bc"]) / 2}
    )
    assert table["nearest_other"]["c"] == 0
    assert table["nearest_other"]["b"] == pytest.approx(min(between["ba"], between["bc"]))
