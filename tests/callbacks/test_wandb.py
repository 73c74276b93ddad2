from pathlib import Path

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
    {"class_path": "SizeByLayer"},
]
OFFLINE = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {"project": "test", "offline": True}}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wandb")
    trainer = {"callbacks": CALLBACKS, "logger": OFFLINE}
    config = write_config(folder / "config.yaml", tiny_config(folder / "out", trainer=trainer))
    done = run_cli("fit", "--config", str(config), cwd=Path.cwd(), WANDB_API_KEY="", WANDB_SILENT="false")
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stderr)
    return folder / "out"


@pytest.fixture(scope="module")
def every_run(output: Path) -> list[OfflineRun]:
    return read_runs(output)


@pytest.fixture(scope="module")
def runs(every_run: list[OfflineRun]) -> list[OfflineRun]:
    """The runs of the layers."""
    return [run for run in every_run if run.kind == "layer"]


def test_one_run_a_model_and_layer_and_one_for_all_grouped_by_sweep(every_run: list[OfflineRun]) -> None:
    assert [run.name for run in every_run] == [
        "TinyNet early · Pixels, paper, 10 steps, lr 0.05",
        "TinyNet middle · Pixels, paper, 10 steps, lr 0.05",
        "TinyNet all layers · Pixels, paper, 10 steps, lr 0.05 · 2 levels, max, threshold 0.1",
    ]
    assert [run.kind for run in every_run] == ["layer", "layer", "sweep"]
    assert len({run.group for run in every_run}) == 1
    assert every_run[0].group.startswith("out-")
    assert len({run.id for run in every_run}) == 3
    assert every_run[0].tags == ["TinyNet", "Pixels", "paper"]


def test_wandb_has_nothing_to_warn_of(output: Path) -> None:
    assert "WARNING" not in (output.parent / "said").read_text()


def test_what_runs_are_filtered_by_are_plain_values(every_run: list[OfflineRun], output: Path) -> None:
    for index, run in enumerate(every_run[:2]):
        assert run.config["layer"] == ["early", "middle"][index]
        assert run.config["layer_index"] == index
    assert "layer" not in every_run[2].config
    for run in every_run:
        expected = {
            "model": "TinyNet",
            "prior": "Pixels",
            "protocol": "paper",
            "optimizer": "AdamW",
            "lr": 0.05,
            "lr_schedule": "PolynomialLR",
            "steps": 10,
            "levels": [0, 0.5],
            "threshold": 0.1,
            "inputs": 2,
            "input_shape": "3×16×16",
            "seed": 0,
            "setting": load_results(output)["setting"].iloc[0],
        }
        assert {name: run.config[name] for name in expected} == expected


def test_the_configuration_is_complete(every_run: list[OfflineRun]) -> None:
    for run in every_run:
        configuration = run.config["configuration"]
        assert configuration["sweep"]["levels"] == [0, 0.5]
        assert configuration["model"]["init_args"]["prior"]["class_path"].endswith("Pixels")
        assert configuration["model"]["init_args"]["optimizer"]["init_args"]["lr"] == 0.05
        assert configuration["trainer"]["max_steps"] == 10


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
    assert [row["trainer/global_step"] for row in rows] == [0, 5, 10, 15]  # two batches of ten steps


def test_problems_are_rows_of_one_table_with_thumbnails(runs: list[OfflineRun], output: Path) -> None:
    results = load_results(output)
    for run in runs:
        table = run.table("problems")
        assert table["columns"][:4] == ["true", "recovered", "sample", "level"]
        size = table["columns"].index("representation_size")
        sizes = [row[size] for row in table["data"]]
        assert sizes == sorted(sizes, reverse=True)
        distance = table["columns"].index("distance")
        expected = results.loc[results["layer"] == run.config["layer"], "distance"]
        assert sorted(row[distance] for row in table["data"]) == pytest.approx(sorted(expected))
        # no metric per sample
        assert not any("noise_00" in key for row in run.history for key in row)


def test_thumbnails_wait_for_their_upload_inside_the_output_folder(runs: list[OfflineRun], output: Path) -> None:
    for run in runs:
        pictures = [path for name, path in run.artifacts["problems"].items() if name.endswith(".png")]
        assert len(pictures) == 4 + 2  # four recovered images, and two true ones once each
        assert all(path.is_file() and path.is_relative_to(output) for path in pictures)


def test_sizes_and_their_summary_are_there(runs: list[OfflineRun], output: Path) -> None:
    sizes = pd.read_csv(output / "sizes.csv")
    for run in runs:
        mine = sizes.loc[sizes["layer"] == run.config["layer"], "representation_size"]
        assert run.column("representation_size/median") == [pytest.approx(mine.median())]
        flags = sizes.loc[sizes["layer"] == run.config["layer"], "flags"].fillna("")
        share = flags.str.contains("rests_on|censored").mean()
        assert run.column("representation_size/lower_bounds") == [pytest.approx(share)]
        assert run.column("inversions") == [4]
        verdicts = ["recovered", "unrecovered", "not_converged", "failed"]
        assert sum(run.column(f"verdicts/{verdict}")[0] for verdict in verdicts) == 4
        assert len(run.table("sizes")["data"]) == 2


def test_panels_show_true_and_recovered_inputs(runs: list[OfflineRun]) -> None:
    for run in runs:
        assert len(list((run.files / "media" / "images").glob("reconstructions*.png"))) == 2


def test_sizes_by_layer_are_a_curve_a_table_and_figures(every_run: list[OfflineRun], output: Path) -> None:
    run = every_run[2]
    sizes = pd.read_csv(output / "sizes.csv")
    assert run.column("layer_index") == [0, 1]
    medians = sizes.groupby("layer", sort=False)["representation_size"].median()
    assert run.column("size_by_layer/median") == pytest.approx(medians.tolist())
    assert run.step_metrics["size_by_layer/*"] == "layer_index"
    assert len(run.table("sizes")["data"]) == 4
    assert run.column("inversions") == [8]
    for figure in ("size_by_layer", "recovery"):
        assert len(list((run.files / "media" / "images").glob(f"{figure}*.png"))) == 1


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
    run, _ = read_runs(tmp_path / "out")
    table = run.table("problems")
    results = load_results(tmp_path / "out")
    text, true = table["columns"].index("recovered_text"), table["columns"].index("true_text")
    assert sorted(row[text] for row in table["data"]) == sorted(results["recovered_text"])
    assert {row[true] for row in table["data"]} == set(results["true_text"])
    assert not {"true_tokens", "wrong_tokens", "trajectory_loss"} & set(table["columns"])
    pages = [path.read_text() for name, path in run.artifacts["problems"].items() if name.endswith(".html")]
    wrong = [len(tokens) for tokens in results["wrong_tokens"]]
    assert sorted(page.count("<mark ") for page in pages) == sorted(wrong)
    assert max(wrong) > 0
