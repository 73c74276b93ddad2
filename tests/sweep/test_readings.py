"""Several readings of each moved feature: the part of the definition that is about every x' in a set-valued π."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from torch.optim import AdamW

from readout.analysis.sizes import sizes_table
from readout.metrics import CorrelationDistance
from readout.priors import Pixels
from readout.readouts import FeatureInversion, ImageInversion
from readout.store import ResultStore, load_results
from tests.helpers import tiny_config
from tests.sweep.interrupted import noise, run
from tests.test_cli import fit, refused
from tests.tiny import TinyNet

LEVELS = [0.0, 0.2, 0.4, 0.6, 0.8]


def pixels() -> FeatureInversion:
    return ImageInversion(TinyNet(), Pixels(init_std=0.2), optimizer=lambda p: AdamW(p, lr=0.05), metrics=[])


def read(folder: Path, **sweep: Any) -> tuple[str, pd.DataFrame]:
    said, _ = run(folder, pixels(), noise(), **{"levels": LEVELS, "batch_size": 16, **sweep})
    return said, load_results(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that reads each feature three times."""
    folder = tmp_path_factory.mktemp("readings")
    read(folder, readings=3)
    return folder


@pytest.fixture
def results(folder: Path) -> pd.DataFrame:
    return load_results(folder)


def test_readings_start_anew_from_the_same_feature(folder: Path, results: pd.DataFrame) -> None:
    assert len(results) == 2 * len(LEVELS) * 3
    of_a_feature = results.groupby(["sample", "level"])
    assert (of_a_feature[["feature_distance", "floor"]].nunique() == 1).all(axis=None)
    assert (of_a_feature["distance"].nunique() == 3).all()
    assert len(list((folder / "recovered").rglob("*.png"))) == len(results)


def test_more_readings_go_on_from_a_sweep_without(tmp_path: Path, results: pd.DataFrame) -> None:
    _, plain = read(tmp_path)
    first = results[results["reading"] == 0].reset_index(drop=True)
    columns = ["key", "sample", "level", "draw", "feature_distance"]
    pd.testing.assert_frame_equal(first[columns], plain[columns])
    assert first["distance"].tolist() == pytest.approx(plain["distance"].tolist(), rel=0.01)
    said, more = read(tmp_path, readings=3)
    assert "20/20 inversions" in said
    assert set(more["key"]) == set(results["key"])
    # the first readings were stored by another sweep
    assert more["spread"].notna().tolist() == (more["reading"] > 0).tolist()


def test_the_spread_is_the_distance_to_the_first_reading(folder: Path, results: pd.DataFrame) -> None:
    recovered = ResultStore(folder).load_recovered(results["key"])
    firsts = results[results["reading"] == 0].set_index(["sample", "level"])["key"]
    for row in results.to_dict("records"):
        if row["reading"] == 0:
            assert math.isnan(row["spread"])
        else:
            pair = (recovered[row["key"]], recovered[firsts[row["sample"], row["level"]]])
            expected = CorrelationDistance().per_sample(*(one.unsqueeze(0) for one in pair)).item()
            assert row["spread"] == pytest.approx(expected, abs=1e-6)
            assert expected > 0.01


def test_an_input_is_represented_where_all_readings_of_its_feature_are_near_it(
    folder: Path, results: pd.DataFrame
) -> None:
    farthest = results.groupby(["sample", "level"])["distance"].max()
    threshold = between(results)
    judged = load_results(folder, threshold)
    sizes = sizes_table(judged).set_index("sample")["representation_size"]
    recovered = judged["verdict"].eq("recovered").groupby([judged["sample"], judged["level"]])
    assert (recovered.any() & ~recovered.all()).any()
    for sample, rows in judged.groupby("sample"):
        held = [level for level in LEVELS if farthest[sample, level] < threshold]
        assert sizes[sample] == rows.loc[rows["level"].isin(held), "feature_distance"].max()


def between(results: pd.DataFrame) -> float:
    """Return a threshold that some but not all readings of a feature are below."""
    return float(results.groupby(["sample", "level"])["distance"].median().loc["noise_000", 0.4])


def test_bisection_asks_for_all_readings_of_a_level(tmp_path: Path, folder: Path, results: pd.DataFrame) -> None:
    threshold = between(results)
    _, searched = read(tmp_path, readings=3, search="bisection", threshold=threshold)
    assert set(searched.groupby(["sample", "level"]).size()) == {3}
    assert len(searched) < len(results)
    found, expected = (sizes_table(one)["representation_size"] for one in (searched, load_results(folder, threshold)))
    assert min(expected) > 0
    assert found.tolist() == pytest.approx(expected.tolist())


def test_a_readout_in_one_pass_has_nothing_to_read_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config(tmp_path / "out", sweep={"readings": 2})
    config["model"] = {"class_path": "Identification", "init_args": {"extractor": {"class_path": "tests.tiny.TinyNet"}}}
    line = refused(fit(config, tmp_path), capsys)
    assert "Identification reads a feature the same way every time" in line
    assert "sweep.readings" in line
    assert not (tmp_path / "out").exists()
