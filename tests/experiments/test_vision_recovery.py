from pathlib import Path

import pandas as pd
import pytest

from experiments.summaries.vision_recovery import conclude
from experiments.vision_recovery import SCALES, main
from tests.experiments.helpers import run


@pytest.mark.slow
def test_smoke_recovers_with_and_without_the_prior_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = run(main, tmp_path)
    assert results.groupby(["readout", "layer"]).size().tolist() == [9, 9, 9, 9]
    means = results.groupby(["readout", "layer", "level"])["distance"].mean().to_dict()
    # pixels find an unperturbed image in a first layer, and noise takes it away
    assert means["pixels", "conv1_1", 0] < 0.01 < means["pixels", "conv1_1", 0.7]
    assert (results["best_distance"] <= results["distance"]).all()
    sizes = pd.read_csv(tmp_path / "sizes.csv")
    assert len(sizes) == 2 * 2 * 3
    assert (sizes["threshold"] == SCALES["smoke"].threshold).all()
    assert (tmp_path / "figures" / "examples.png").is_file()
    # run again with the sweeps of before: nothing is inverted, and none is copied
    monkeypatch.setattr("readout.sweep.jobs.read", None)
    again = tmp_path / "again"
    main(["--scale", "smoke", "--output", str(again), "--sweeps", str(tmp_path)])
    pd.testing.assert_frame_equal(pd.read_csv(again / "vision_recovery.csv"), results)
    assert not (again / "dip").exists()


def tables(at_strong: float, sizes: dict[str, tuple[float, float]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Results and sizes of four samples, by layer with and without the prior."""
    both = [
        {"readout": readout, "layer": layer, "sample": f"s{place}", "crossing": size - 0.01 * place}
        for layer, pair in sizes.items()
        for readout, size in zip(("dip", "pixels"), pair, strict=True)
        for place in range(4)
    ]
    table = pd.DataFrame(both).assign(lower_bound=False)
    results = table.assign(level=0.7, feature_distance=0.7, threshold=0.1)
    return results.assign(distance=[at_strong if name == "dip" else 0.7 for name in results["readout"]]), table


def test_sentences_follow_the_numbers() -> None:
    with_prior, without = conclude(*tables(0.05, {"a": (0.8, 0.5), "b": (0.5, 0.2), "c": (0.2, 0.1)}))
    assert "falls with depth" in with_prior
    assert "below 0.1 at a (0.050), b (0.050), c (0.050)" in with_prior
    assert "-0.30 at a" in without
    assert "nearer to" in without
    with_prior, without = conclude(*tables(0.9, {"a": (0.2, 0.5), "b": (0.5, 0.6), "c": (0.8, 0.9)}))
    assert "rises with depth" in with_prior
    assert "no layer and not at a (0.900)" in with_prior
    assert "+0.30 at a" in without
