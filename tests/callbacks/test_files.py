"""What users of TensorBoard, CSV and loggers without an adapter get."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch.loggers import CSVLogger, Logger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from readout import load_results
from readout.callbacks import ProblemTable, Reconstructions, RecoveryCurve, SizeByLayer
from readout.callbacks.loggers.csv import CSVAdapter
from readout.data import TextFiles, UniformNoise
from readout.extractors import LanguageModel
from readout.priors import Pixels
from readout.readouts import FeatureInversion, ImageInversion, TextInversion
from readout.sweep import Sweep
from readout.sweep.runtime import Runtime
from tests.helpers import CPU
from tests.tiny import TinyNet
from tests.tiny_text import TEXT, save_tiny

LOGGERS = [
    {"class_path": f"lightning.pytorch.loggers.{name}", "init_args": {"save_dir": ".", "name": name}}
    for name in ("TensorBoardLogger", "CSVLogger")
]


def run(
    output: Path,
    inversion: FeatureInversion,
    data: UniformNoise | TextFiles,
    layers: list[str],
    loggers: Sequence[Mapping[str, Any]] = LOGGERS,
) -> Path:
    callbacks = [RecoveryCurve(every_n_steps=5), Reconstructions(), ProblemTable(), SizeByLayer()]
    runtime = Runtime({**CPU, "max_steps": 10, "callbacks": callbacks}, loggers, {"data": {"of": "mine"}})
    Sweep(layers, [0, 0.5], output=str(output)).run(inversion, data, runtime)
    return output


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inversion = ImageInversion(TinyNet(), Pixels(), record_every=5)
    data = UniformNoise(2, [3, 16, 16])
    return run(tmp_path_factory.mktemp("files") / "out", inversion, data, ["early", "middle"])


def events(output: Path, folder: str) -> EventAccumulator:
    found = EventAccumulator(str(output / "TensorBoardLogger" / folder))
    found.Reload()
    return found


def text(found: EventAccumulator, name: str) -> str:
    (event,) = found.Tensors(f"{name}/text_summary")
    return str(event.tensor_proto.string_val[0].decode())


def test_tensorboard_has_curves_against_the_step(output: Path) -> None:
    results = load_results(output, trajectories=True)
    found = events(output, "early")
    for level in (0, 0.5):
        rows = results[(results["layer"] == "early") & (results["level"] == level)]
        curve = found.Scalars(f"recovery/distance/level={level:g}")
        assert [event.step for event in curve] == [0, 5, 10]
        expected = pd.DataFrame(rows["trajectory_distance"].tolist()).mean().tolist()
        assert [event.value for event in curve] == pytest.approx(expected)
        # a single batch held all problems, so live values are the same curve, except for the scored iterate
        live = found.Scalars(f"live/distance/level={level:g}")
        assert [(event.step, event.value) for event in live] == [(event.step, event.value) for event in curve[:2]]
    assert "optimisation_step" not in found.Tags()["scalars"]
    assert "hp_metric" not in found.Tags()["scalars"]


def test_tensorboard_draws_all_levels_on_one_chart(output: Path) -> None:
    (event,) = events(output, "early").Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout()
    layout.ParseFromString(event.tensor_proto.string_val[0])
    charts = {(c.title, chart.title): list(chart.multiline.tag) for c in layout.category for chart in c.chart}
    assert charts[("recovery", "distance")] == ["recovery/distance/level=.*"]
    assert len(charts) == 6


def test_tensorboard_has_pictures_tables_and_hyperparameters_beside_the_summary(output: Path) -> None:
    found = events(output, "middle")
    assert sorted(found.Tags()["images"]) == ["reconstructions/noise_000", "reconstructions/noise_001"]
    (image,) = found.Images("reconstructions/noise_000")
    assert (image.width, image.height) == (3 * 16, 16)  # true, and two levels
    assert text(found, "problems").count("noise_00") == 4
    assert text(found, "sizes").count("noise_00") == 2
    session = HParamsPluginData.FromString(
        found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    ).session_start_info
    assert session.hparams["layer"].string_value == "middle"
    assert session.hparams["lr"].number_value == pytest.approx(1e-4)
    assert "representation_size/median" in found.Tags()["scalars"]


def test_the_sweep_as_a_whole_has_sizes_by_layer(output: Path) -> None:
    sizes = pd.read_csv(output / "sizes.csv").groupby("layer", sort=False)["representation_size"].median()
    found = events(output, "sweep")
    curve = found.Scalars("size_by_layer/median")
    assert [event.step for event in curve] == [0, 1]
    assert [event.value for event in curve] == pytest.approx(sizes.tolist())
    assert sorted(found.Tags()["images"]) == ["recovery", "size_by_layer"]
    folder = output / "CSVLogger" / "sweep"
    table = pd.read_csv(folder / "metrics.csv")
    assert table["size_by_layer/median"].dropna().tolist() == pytest.approx(sizes.tolist())
    assert len(pd.read_csv(folder / "sizes.csv")) == 4
    for name in ("recovery", "size_by_layer"):
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.width > 500


def test_a_csv_that_goes_on_keeps_every_digit(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(100).tolist()
    logger = CSVLogger(str(tmp_path), version="run")
    for step, value in enumerate(values):
        logger.log_metrics({"value": value}, step=step)
    logger.save()
    CSVAdapter(CSVLogger(str(tmp_path), version="run")).begin({})
    with (Path(logger.log_dir) / "metrics.csv").open(newline="") as file:
        assert [float(row["value"]) for row in csv.DictReader(file)] == values


def test_csv_has_curves_tables_and_pictures_with_their_paths(output: Path) -> None:
    folder = output / "CSVLogger" / "early"
    table = pd.read_csv(folder / "metrics.csv")
    curve = table.dropna(subset="recovery/distance/level=0.5")
    assert curve["optimisation_step"].tolist() == [0, 5, 10]
    assert table["representation_size/median"].notna().sum() == 1
    problems = pd.read_csv(folder / "problems.csv")
    assert len(problems) == 4
    assert all((output / path).is_file() for path in problems["recovered"])
    sizes = pd.read_csv(folder / "sizes.csv")
    merged = problems.merge(sizes, on="sample")
    assert merged["representation_size_x"].tolist() == merged["representation_size_y"].tolist()
    with Image.open(folder / "reconstructions" / "noise_000.png") as panel:
        assert np.asarray(panel).shape == (16, 48, 3)
    assert "of: mine" in (folder / "hparams.yaml").read_text()


def test_texts_are_shown_with_wrong_tokens_marked_and_kept_with_their_paths(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    inversion = TextInversion(LanguageModel(save_tiny(tmp_path / "bert", "bert")), record_every=5)
    data = TextFiles(str(tmp_path / "text.txt"), max_tokens=12)
    output = run(tmp_path / "out", inversion, data, ["layer.1"])
    results = load_results(output)
    shown = text(events(output, "layer.1"), "problems")
    assert shown.count("<mark ") == sum(len(wrong) for wrong in results["wrong_tokens"]) > 0
    problems = pd.read_csv(output / "CSVLogger" / "layer.1" / "problems.csv")
    for path, recovered in zip(problems["recovered"], problems["recovered_text"], strict=True):
        assert recovered in (output / path).read_text()


class MetricsOnly(Logger):
    """A fourth kind, which takes neither a folder nor anything but metrics."""

    opened: ClassVar[list["MetricsOnly"]] = []
    name, version = "mine", 0

    def __init__(self) -> None:
        self.metrics: list[tuple[int | None, dict[str, float]]] = []
        self.facts: dict[str, Any] = {}
        self.status = "running"
        self.opened.append(self)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.metrics.append((step, dict(metrics)))

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self.facts |= params

    def finalize(self, status: str) -> None:
        self.status = status


def test_a_logger_of_any_other_kind_gets_facts_curves_and_summaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MetricsOnly, "opened", [])
    inversion = ImageInversion(TinyNet(), Pixels(), record_every=5)
    spec = {"class_path": f"{__name__}.MetricsOnly"}
    output = run(tmp_path / "out", inversion, UniformNoise(2, [3, 16, 16]), ["early", "middle"], [spec])
    layers, (everything,) = MetricsOnly.opened[:2], MetricsOnly.opened[2:]
    results = load_results(output, trajectories=True)
    for layer, logger in zip(("early", "middle"), layers, strict=True):
        assert (logger.facts["layer"], logger.facts["configuration"]) == (layer, {"data": {"of": "mine"}})
        rows = results[(results["layer"] == layer) & (results["level"] == 0.5)]
        points = [(step, values) for step, values in logger.metrics if "optimisation_step" in values]
        assert [(step, values["optimisation_step"]) for step, values in points] == [(0, 0), (5, 5), (10, 10)]
        means = pd.DataFrame(rows["trajectory_distance"].tolist()).mean().tolist()
        assert [values["recovery/distance/level=0.5"] for _, values in points] == pytest.approx(means)
        assert [values["inversions"] for _, values in logger.metrics if "inversions" in values] == [4]
    indices = [(step, values["layer_index"]) for step, values in everything.metrics if "layer_index" in values]
    assert indices == [(0, 0), (1, 1)]
    assert {logger.status for logger in MetricsOnly.opened} == {"success"}
