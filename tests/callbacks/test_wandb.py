import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from readout import load_results
from tests.callbacks.wandb_file import OfflineRun, read_runs
from tests.helpers import run_cli, tiny_config, write_config
from tests.tiny_text import TEXT, save_tiny

CALLBACKS = [
    {"class_path": "RecoveryCurve", "init_args": {"every_n_steps": 5}},
    {"class_path": "Reconstructions"},
    {"class_path": "ProblemTable"},
]
OFFLINE = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {"project": "test", "offline": True}}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wandb")
    trainer = {"callbacks": CALLBACKS, "logger": OFFLINE}
    config = write_config(folder / "config.yaml", tiny_config(folder / "out", trainer=trainer))
    done = run_cli("fit", "--config", str(config), cwd=Path.cwd(), WANDB_API_KEY="")
    assert done.returncode == 0, done.stderr
    return folder / "out"


@pytest.fixture(scope="module")
def runs(output: Path) -> list[OfflineRun]:
    return read_runs(output)


def test_one_run_a_model_and_layer_grouped_by_sweep(runs: list[OfflineRun]) -> None:
    assert [run.name for run in runs] == ["TinyNet early", "TinyNet middle"]
    assert len({run.group for run in runs}) == 1
    assert runs[0].group.startswith("out-")


def test_the_configuration_is_complete(runs: list[OfflineRun]) -> None:
    for run, layer in zip(runs, ["early", "middle"], strict=True):
        assert run.config["layer"] == layer
        assert run.config["sweep"]["levels"] == [0, 0.5]
        assert run.config["model"]["init_args"]["prior"]["class_path"].endswith("Pixels")
        assert run.config["model"]["init_args"]["optimizer"]["init_args"]["lr"] == 0.05
        assert run.config["trainer"]["max_steps"] == 10


def test_curves_by_level_are_means_over_problems(runs: list[OfflineRun], output: Path) -> None:
    results = load_results(output, trajectories=True)
    early = results[(results["layer"] == "early") & (results["level"] == 0.5)]
    expected = pd.DataFrame(early["trajectory_distance"].tolist()).mean().tolist()
    assert runs[0].column("recovery/distance/level=0.5") == pytest.approx(expected)
    assert runs[0].column("optimisation_step") == [0, 5, 10]
    for quantity in ("distance", "recovered_feature_distance", "loss"):
        for level in ("0", "0.5"):
            assert len(runs[1].column(f"recovery/{quantity}/level={level}")) == 3
    assert runs[0].step_metrics["recovery/*"] == "optimisation_step"


def test_live_values_go_on_from_batch_to_batch(runs: list[OfflineRun]) -> None:
    rows = [row for row in runs[0].history if "live/distance/level=0" in row]
    assert [row["trainer/global_step"] for row in rows] == [5, 10, 15, 20]  # two batches of ten steps


def test_problems_are_rows_of_one_table_with_thumbnails(runs: list[OfflineRun], output: Path) -> None:
    results = load_results(output)
    for run in runs:
        table = _table(run, "problems")
        assert table["columns"][0] == "recovered"
        distance = table["columns"].index("distance")
        expected = results.loc[results["layer"] == run.config["layer"], "distance"]
        assert sorted(row[distance] for row in table["data"]) == pytest.approx(sorted(expected))
        # no metric name a sample
        assert not any("noise_00" in key for row in run.history for key in row)


def test_thumbnails_wait_for_their_upload_inside_the_output_folder(runs: list[OfflineRun], output: Path) -> None:
    for run in runs:
        pictures = [path for name, path in run.artifacts["problems"].items() if name.endswith(".png")]
        assert len(pictures) == 4
        assert all(path.is_file() and path.is_relative_to(output) for path in pictures)


def test_sizes_and_their_summary_are_there(runs: list[OfflineRun], output: Path) -> None:
    sizes = pd.read_csv(output / "sizes.csv")
    for run in runs:
        mine = sizes.loc[sizes["layer"] == run.config["layer"], "representation_size"]
        assert run.column("representation_size/median") == [pytest.approx(mine.median())]
        verdicts = ["recovered", "unrecovered", "not_converged", "failed"]
        assert sum(run.column(f"verdicts/{verdict}")[0] for verdict in verdicts) == 4
        assert len(_table(run, "sizes")["data"]) == 2


def test_panels_show_true_and_recovered_inputs(runs: list[OfflineRun]) -> None:
    for run in runs:
        assert len(list((run.files / "media" / "images").glob("reconstructions*.png"))) == 2


def _table(run: OfflineRun, name: str) -> dict[str, Any]:
    (path,) = (run.files / "media" / "table").glob(f"{name}_*.json")
    table: dict[str, Any] = json.loads(path.read_text())
    return table


def test_recovered_texts_are_rows_with_wrong_tokens_marked(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "bert", "bert")
    (tmp_path / "text.txt").write_text(TEXT)
    model = {"extractor": {"class_path": "LanguageModel", "init_args": {"weights": folder}}, "record_every": 5}
    config = tiny_config(
        tmp_path / "out",
        model={"class_path": "TextInversion", "init_args": model},
        data={"class_path": "TextFiles", "init_args": {"path": str(tmp_path / "text.txt"), "max_tokens": 12}},
        sweep={"layers": "layer.1", "levels": [0, 0.9], "output": str(tmp_path / "out")},
        trainer={"callbacks": CALLBACKS, "logger": OFFLINE},
    )
    del config["sweep"]["batch_size"]
    done = run_cli("fit", "--config", str(write_config(tmp_path / "config.yaml", config)), cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    (run,) = read_runs(tmp_path / "out")
    table = _table(run, "problems")
    results = load_results(tmp_path / "out")
    text, true = table["columns"].index("recovered_text"), table["columns"].index("true_text")
    assert sorted(row[text] for row in table["data"]) == sorted(results["recovered_text"])
    assert {row[true] for row in table["data"]} == set(results["true_text"])
    assert not {"true_tokens", "wrong_tokens", "trajectory_loss"} & set(table["columns"])
    pages = [path.read_text() for name, path in run.artifacts["problems"].items() if name.endswith(".html")]
    wrong = [len(tokens) for tokens in results["wrong_tokens"]]
    assert sorted(page.count("<mark ") for page in pages) == sorted(wrong)
    assert max(wrong) > 0
