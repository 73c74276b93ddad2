from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from experiments.metric import SCALES, find_distances, is_at_hand, main, place, unrelated
from experiments.shared.crops import random_crops
from experiments.summaries.metric import agreement
from tests.experiments.helpers import run, run_again


@pytest.mark.slow
def test_smoke_scores_under_every_metric_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))  # no weights of learned metrics here
    points = run(main, tmp_path / "out")
    null = pd.read_csv(tmp_path / "out" / "null.csv")
    crops = 1 + SCALES["smoke"].crops
    assert len(null) == 3 * crops**2
    for metric in ("correlation", "ssim", "rmse"):
        assert points[points["level"] == 0][metric].median() < null[metric].median()
    thresholds = pd.read_csv(tmp_path / "out" / "thresholds.csv").set_index("metric")
    share = (points["correlation"] < 0.15).mean()
    for name, row in thresholds.iterrows():
        metric = str(name)
        assert (null[metric] < row["null"]).mean() <= 0.02
        assert (points[metric] < row["matched"]).mean() == pytest.approx(share, abs=1 / len(points))
    assert "LPIPS and DISTS could not be measured" in (tmp_path / "out" / "result.txt").read_text(encoding="utf-8")
    run_again(main, tmp_path / "out", points, monkeypatch)


def test_distances_are_those_of_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert not is_at_hand("lpips")
    found, missing = find_distances(fetch=False)
    assert missing == ["lpips", "dists"]
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert found["rmse"](0.5 * x, x).tolist() == pytest.approx((0.5 * x).square().flatten(1).mean(1).sqrt().tolist())
    assert found["ssim"](x, x).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert found["correlation"](0.5 * x, x).tolist() == pytest.approx([0, 0], abs=1e-6)


def test_unrelated_pairs_come_from_different_images() -> None:
    def brightness(first: Tensor, second: Tensor) -> Tensor:
        return (first - second).flatten(1).mean(1).abs()

    images = {name: torch.full((3, 8, 8), value) for name, value in (("a", 0.0), ("b", 0.25), ("c", 1.0))}
    pairs = unrelated(images, 2, {"brightness": brightness})
    assert len(pairs) == 27
    assert pairs.groupby(["first", "second"])["brightness"].mean().to_dict() == pytest.approx(
        {("a", "b"): 0.25, ("a", "c"): 1, ("b", "c"): 0.75}
    )


def test_thresholds_and_agreement_of_a_metric_that_only_rescales() -> None:
    values = np.linspace(0, 0.6, 21)
    points = pd.DataFrame({"correlation": values, "ssim": 2 * values})
    null = pd.DataFrame({"first": "a", "second": "b", "correlation": values + 0.2, "ssim": 2 * values + 0.4})
    placed = place(points, null, SCALES["smoke"]).set_index("metric")
    assert placed.loc["ssim", "null"] == pytest.approx(2 * placed.loc["correlation", "null"])  # type: ignore[operator]
    assert placed.loc["correlation", "matched"] == 0.15
    assert (points["ssim"] < placed.loc["ssim", "matched"]).sum() == (points["correlation"] < 0.15).sum()
    rows = [
        {"metric": metric, "placed": "matched", "layer": layer, "sample": sample, "size": sign * size}
        for layer, high in (("l1", 0.5), ("l2", 0.1))
        for sample, size in zip("abcd", high + np.array([0.3, 0.1, 0.2, 0.0]), strict=True)
        for metric, sign in (("correlation", 1), ("ssim", 3), ("rmse", -1))
    ]
    sizes = pd.DataFrame(rows)
    assert [found.rho.value for found in agreement(sizes, "ssim")] == pytest.approx([1, 1])
    assert [found.rho.value for found in agreement(sizes, "rmse")] == pytest.approx([-1, -1])


def test_crops_depend_on_the_seed_and_keep_the_size() -> None:
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    first, again, others = (torch.stack(random_crops(image, 6, seed)) for seed in (1, 1, 2))
    assert first.shape == (6, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, others)
    assert image.min() <= first.min()
    assert first.max() <= image.max()
