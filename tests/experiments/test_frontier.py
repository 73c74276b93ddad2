from pathlib import Path

import pandas as pd
import pytest
import torch

from experiments.decoder import main, with_chance
from experiments.shared.crops import random_crops
from experiments.summaries.decoder import conclude
from readout.metrics import correlation_distance
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_reads_in_every_way_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = run(main, tmp_path)
    assert points.groupby("readout", sort=False).size().to_dict() == {"dip": 9, "pixels": 9, "smooth": 9}
    assert (points["distance"] < points["chance"]).all()
    nearest = pd.read_csv(tmp_path / "nearest.csv")
    assert (nearest["candidates"] == 3 + 3 * 4).all()
    # all noise: no better than a guess; without noise: the image itself
    assert (nearest[nearest["level"] == 0]["distance"] == 0).all()
    assert nearest[nearest["level"] == 0.99999]["distance"].max() > 0.1
    assert len(pd.read_csv(tmp_path / "sizes.csv")) == 9
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


def test_crops_depend_on_the_seed_and_keep_the_size() -> None:
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    first, again, others = (torch.stack(random_crops(image, 6, seed)) for seed in (1, 1, 2))
    assert first.shape == (6, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, others)
    assert image.min() <= first.min()
    assert first.max() <= image.max()


def test_sentences_follow_the_numbers() -> None:
    rows = [
        {"readout": readout, "layer": "l", "sample": f"s{place}", "crossing": size + 0.001 * place}
        for readout, size in (("dip", 0.6), ("pixels", 0.3), ("smooth", 0.6))
        for place in range(6)
    ]
    sizes = pd.DataFrame(rows).assign(lower_bound=False, feature_dim=48, input_dim=12)
    points = sizes.assign(chance=0.8, nearest_other=0.7, distance=0.2)
    nearest = pd.DataFrame({"level": [0.5, 0.9, 0.99], "distance": [0, 0, 0.4], "candidates": 30})
    first, second = conclude(points, sizes, nearest, 0.1)
    assert "0.60 (0.60 to 0.60) with Deep Image Prior" in first
    assert "there are 50 % at l (p = 0.062) with pixels; 100 % at l (p = 1) with pixels, total variation" in second
    assert "0.80 to 0.80 and comes below the threshold in 0 of 18 readings" in second
    assert "of what was not recovered 100 % still is nearest to its own image" in second
    assert "the nearest of 30 inputs is the right one at every level below 0.99" in second
