from pathlib import Path

import pandas as pd
import pytest

from experiments.shared.harness import Experiment, Readout, begin, sample_sizes
from readout.common.errors import ReadoutError
from readout.data import UniformNoise
from readout.priors import Pixels
from tests.tiny import TinyNet


def test_the_command_line_says_scale_and_folder(tmp_path: Path) -> None:
    asked = begin("x", "doc", {"smoke": 1, "cpu": 2}, ["--scale", "smoke", "--output", str(tmp_path)])
    assert (asked.name, asked.scale, asked.folder) == ("x", 1, tmp_path)
    default = begin("x", "doc", {"smoke": 1, "cpu": 2}, [])
    assert (default.scale, default.folder) == (2, Path("runs/experiments/x-cpu"))
    with pytest.raises(ReadoutError, match="give their folder as --images FOLDER"):
        default.image_folder()


def test_a_sweep_gives_its_own_results_only(tmp_path: Path) -> None:
    experiment = Experiment("x", None, tmp_path)
    inversion = Readout(Pixels(), 0.1, 3).inversion(TinyNet(), metrics=[])
    many = experiment.sweep(
        "all", inversion, UniformNoise(2, (3, 8, 8)), steps=3, layers="all", levels=(0, 0.5), draws=2
    )
    assert len(many) == 3 * 2 * 2 * 2
    few = experiment.sweep("all", inversion, UniformNoise(1, (3, 8, 8)), steps=3, layers="early", levels=(0.5,))
    assert few[["layer", "sample", "level", "draw"]].to_numpy().tolist() == [["early", "noise_000", 0.5, 0]]
    assert few["key"].isin(many["key"]).all()
    assert experiment.sweep("all", inversion, UniformNoise(1, (3, 8, 8)), steps=2, layers="early", levels=(0.5,))[
        "steps"
    ].tolist() == [2]


def test_sizes_of_draws_are_averaged_within_samples() -> None:
    shared = {"model": "m", "weights": "w", "prior": "p", "protocol": "paper", "setting": "s", "threshold": 0.1}
    shared |= {"feature_dim": 8, "input_dim": 4, "layer": "early", "sample": "x", "label": "hit"}
    shared |= {"readout": "r", "weights_digest": "0", "metric": "correlation_distance"}
    # d_X reaches the threshold half-way between 0.2 and 0.4, and between 0.4 and 0.6
    curves = {0: (0.0, 0.05, 0.15, 0.3), 1: (0.0, 0.01, 0.05, 0.15)}
    rows = [
        {"draw": draw, "level": level, "feature_distance": level, "distance": distance,
         "verdict": "recovered" if distance < 0.1 else "unrecovered"}
        for draw, curve in curves.items()
        for level, distance in zip((0.0, 0.2, 0.4, 0.6), curve, strict=True)
    ]  # fmt: skip
    found = sample_sizes(pd.DataFrame([shared | row for row in rows])).iloc[0]
    assert found["size"] == pytest.approx((0.3 + 0.5) / 2)
    assert found["mean_distance"] == pytest.approx((0.05 + 0.15 + 0.3 + 0.01 + 0.05 + 0.15) / 6)
    assert found["lower_bound"] == 0
    assert found["label"] == "hit"
