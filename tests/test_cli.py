import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from PIL import Image

from readout import cli, load_results
from readout.analysis.sizes import sizes_table
from readout.store import ResultStore, parts
from tests.helpers import read_table, run_cli, tiny_config, write_config

ROOT = Path(__file__).parent.parent


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return tiny_config(tmp_path / "out")


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished sweep of the tiny configuration."""
    folder = tmp_path_factory.mktemp("baseline")
    assert fit(tiny_config(folder / "out"), folder) == 0
    return folder


@pytest.fixture
def swept(baseline: Path, tmp_path: Path) -> None:
    """Start from that sweep's output."""
    shutil.copytree(baseline / "out", tmp_path / "out")


class StopsEarly(Callback):
    """Ends each fit after three steps."""

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.global_step >= 3


def fit(config: dict[str, Any], folder: Path, *more: str) -> int:
    return cli.main(["fit", "--config", str(write_config(folder / "config.yaml", config)), *more])


def refused(code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence a user reads."""
    captured = capsys.readouterr()
    assert code == 2
    assert "Traceback" not in captured.err
    (line,) = [line for line in captured.err.splitlines() if line.strip()]
    assert line.startswith("error: ")
    return line


@pytest.mark.usefixtures("reports")
def test_a_sweep_leaves_everything_the_design_names(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(config, tmp_path) == 0
    printed = capsys.readouterr().out
    assert "8 = 2 layers × 2 levels × 1 draws × 2 inputs" in printed
    assert "10 each, 80 in all" in printed
    assert "representation size by layer" in printed
    out = tmp_path / "out"
    results = load_results(out)
    assert len(results) == 8
    assert results["key"].is_unique
    assert set(results["verdict"]) <= {"recovered", "unrecovered", "not_converged", "failed"}
    sizes = pd.read_csv(out / "sizes.csv")
    assert sizes[["layer", "sample"]].to_numpy().tolist() == [
        ["early", "noise_000"],
        ["early", "noise_001"],
        ["middle", "noise_000"],
        ["middle", "noise_001"],
    ]
    assert len(list((out / "recovered").rglob("*.png"))) == 8
    assert len(list((out / "recovered").glob("*.safetensors"))) == 4  # one per batch
    assert len(list((out / "results").glob("*.parquet"))) == 2  # one per layer
    assert {path.name for path in (out / "figures").iterdir()} >= {"recovery.png", "sizes.svg", "recovered.png"}
    assert "How far can a feature of TinyNet move" in (out / "report.html").read_text()
    assert not list(out.rglob("*.partial"))


@pytest.mark.usefixtures("swept")
def test_the_kept_configuration_runs_the_sweep_again(config: dict[str, Any], tmp_path: Path) -> None:
    kept = tmp_path / "out" / "config.yaml"
    again = ["fit", "--config", str(kept), "--sweep.output", str(tmp_path / "again")]
    assert cli.main(again) == 0
    first, second = load_results(tmp_path / "out"), load_results(tmp_path / "again")
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), second.drop(columns="seconds"))


@pytest.mark.usefixtures("swept")
def test_a_second_run_computes_nothing(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()}
    assert fit(config, tmp_path) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()} == before


@pytest.mark.parametrize(
    "change",
    [
        ["--seed_everything", "1"],
        ["--trainer.max_steps", "9"],
        ["--model.optimizer.lr", "0.04"],
        ["--model.extractor.seed", "1"],
        ["--model.prior.total_variation", "0.1"],
        ["--data.seed", "1"],
        ["--sweep.perturbation", "GaussianPerturbation", "--sweep.perturbation.calibration", "exact"],
    ],
)
@pytest.mark.usefixtures("swept")
def test_any_change_that_decides_the_answer_is_computed_anew(
    config: dict[str, Any], tmp_path: Path, change: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert fit(config, tmp_path, *change, "--sweep.plan_only", "true") == 0
    assert "already done" not in capsys.readouterr().out


@pytest.mark.usefixtures("swept")
def test_another_threshold_judges_again_without_computing(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(config, tmp_path, "--sweep.threshold", "1.5") == 0
    assert "nothing left to do" in capsys.readouterr().out
    sizes = pd.read_csv(tmp_path / "out" / "sizes.csv")
    assert (sizes["threshold"] == 1.5).all()
    assert (sizes["representation_size"] > 0.4).all()


def test_results_are_judged_alike_whenever_they_were_computed(config: dict[str, Any], tmp_path: Path) -> None:
    assert fit(config, tmp_path, "--sweep.layers", "early") == 0
    assert set(load_results(tmp_path / "out")["threshold"]) == {0.1}
    more = ["--sweep.levels+", "0.3", "--sweep.threshold", "0.4", "--sweep.tolerance", "0.5"]
    assert fit(config, tmp_path, "--sweep.layers", "early", *more) == 0
    results = load_results(tmp_path / "out")
    assert set(results["threshold"]) == {0.4}
    assert set(results["tolerance"]) == {0.5}
    assert len(results) == 2 * 3
    written = read_table(tmp_path / "out" / "sizes.csv")
    assert sizes_table(results)["representation_size"].tolist() == written["representation_size"].tolist()


@pytest.mark.usefixtures("swept")
def test_adding_levels_computes_only_those(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert fit(config, tmp_path, "--sweep.levels", "[0, 0.3, 0.5]") == 0
    assert "8 already done" in capsys.readouterr().out
    assert len(load_results(tmp_path / "out")) == 12


def test_bisection_finds_the_sizes_of_the_grid_from_fewer_levels(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    levels = ["--sweep.levels", "[0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]", "--sweep.threshold", "0.4"]
    searched, grid = tmp_path / "searched", tmp_path / "grid"
    assert fit(config, tmp_path, *levels, "--sweep.search", "bisection", "--sweep.output", str(searched)) == 0
    printed = capsys.readouterr().out
    assert "40 = 2 layers × 10 levels × 1 draws × 2 inputs, of which bisection wants at most 24" in printed
    assert "100%" in printed
    assert fit(config, tmp_path, *levels, "--sweep.output", str(grid)) == 0
    assert len(load_results(searched)) <= 24
    assert len(load_results(grid)) == 40
    found, expected = (pd.read_csv(folder / "sizes.csv") for folder in (searched, grid))
    assert expected["representation_size"].nunique() > 1
    np.testing.assert_allclose(found["representation_size"], expected["representation_size"], atol=1e-6)
    assert (found["levels_tested"] < 10).all()
    # the grid goes on from what the search has found, and computes only the rest
    capsys.readouterr()
    assert fit(config, tmp_path, *levels, "--sweep.search", "bisection", "--sweep.output", str(searched)) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert fit(config, tmp_path, *levels, "--sweep.output", str(searched)) == 0
    assert f"{found['levels_tested'].sum()} already done" in capsys.readouterr().out
    assert len(load_results(searched)) == 40


def test_a_fit_that_ends_early_is_not_taken_for_a_result(
    config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config["trainer"]["callbacks"] = [{"class_path": "tests.test_cli.StopsEarly"}]
    assert "ended before its last step" in refused(fit(config, tmp_path), capsys)
    assert not list((tmp_path / "out").rglob("*.parquet"))


@pytest.mark.usefixtures("swept")
def test_results_of_two_settings_in_one_folder_stay_apart(config: dict[str, Any], tmp_path: Path) -> None:
    assert fit(config, tmp_path, "--trainer.max_steps", "9") == 0
    results = load_results(tmp_path / "out")
    assert len(results) == 16
    store = ResultStore(tmp_path / "out")
    kept = {steps: store.read_setting(one) for one, steps in results[["setting", "steps"]].drop_duplicates().to_numpy()}
    assert {steps: one["steps"] for steps, one in kept.items()} == {9: 9, 10: 10}
    assert kept[9]["readout"] == kept[10]["readout"]
    assert kept[9]["readout"]["optimizer"]["lr"] == 0.05
    assert kept[9]["moved_by"]["class"].endswith("GaussianPerturbation")
    assert len(pd.read_csv(tmp_path / "out" / "sizes.csv")) == 4
    for path in store.recovered.rglob("*.png"):
        path.unlink()
    assert cli.main(["report", str(tmp_path / "out"), "--pictures"]) == 0
    assert len(list(store.recovered.rglob("*.png"))) == 8


def test_the_papers_protocol_is_planned_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(70):
        pixels = torch.randint(0, 255, (40, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
        path = tmp_path / "images" / f"n{index % 7}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.numpy()).save(path)
    arguments = ["fit", "--config", "vgg_dip.yaml", "--config", "paper.yaml", "--data.folder", str(tmp_path / "images")]
    # a small prior, small images and random weights: the plan is what is tested
    arguments += ["--model.prior.filters", "[4]"]
    arguments += ["--data.size", "16", "--model.extractor.weights", "random", "--sweep.plan_only", "true"]
    assert cli.main([*arguments, "--sweep.output", str(tmp_path / "out")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "conv1_1, conv1_2, conv2_1, conv2_2, conv3_1" in printed
    assert "conv5_4 levels 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99" in printed
    assert "11,264 = 16 layers × 11 levels × 1 draws × 64 inputs" in printed
    assert "10,000 each, 112,640,000 in all" in printed
    assert not (tmp_path / "out" / "config.yaml").exists()


def test_the_papers_configuration_says_what_the_paper_says() -> None:
    paper = yaml.safe_load((ROOT / "lightning_configs" / "paper.yaml").read_text())
    assert paper["model"]["init_args"]["extractor"]["init_args"]["weights"] == "imagenet"
    assert paper["model"]["init_args"]["optimizer"] == {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-4}}
    assert paper["data"]["init_args"]["size"] == 224
    assert paper["trainer"]["max_steps"] == 10_000


def test_a_model_of_ones_own_is_ten_lines(tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(
        "from torch import nn\n"
        "from readout.extractors import FeatureExtractor\n\n\n"
        "class MyNet(FeatureExtractor):\n"
        "    def __init__(self):\n"
        "        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))\n"
        "        super().__init__(network, layers={'first': '0', 'second': '2'})\n"
    )
    config = tiny_config(tmp_path / "out", sweep={"layers": "all", "levels": [0, 0.5]})
    path = write_config(tmp_path / "config.yaml", config)
    arguments = ["fit", "--config", str(path), "--model.extractor", "my_models.MyNet"]
    done = run_cli(*arguments, "--sweep.output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_results(tmp_path / "out")["layer"].unique().tolist() == ["first", "second"]
    # this one as it is started by a user; `run_cli` forks
    command = [sys.executable, "-m", "readout.cli", "layers", "--model", "my_models.MyNet", "--size", "8"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "8 × 6 × 6" in listed.stdout
    assert "288" in listed.stdout


def test_layers_lists_names_shapes_and_dimensions(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["layers", "--model", "VGG19", "--model.weights", "random", "--size", "224"]) == 0
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    table = {line[0]: (" ".join(line[1:-2]), line[-2]) for line in lines if line and line[0].startswith("conv")}
    assert len(table) == 16
    assert table["conv1_1"] == ("64 × 224 × 224", "3,211,264")
    assert table["conv3_4"] == ("256 × 56 × 56", "802,816")
    assert table["conv5_4"] == ("512 × 14 × 14", "100,352")


@pytest.mark.parametrize(("size", "words"), [("-1", "--size is -1"), ("8", "can't be run on inputs of 3 × 8 × 8")])
def test_layers_of_inputs_that_a_model_does_not_take(size: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["layers", "--model", "VGG19", "--model.weights", "random", "--size", size]
    assert words in refused(cli.main(arguments), capsys)


def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys\nfrom readout import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'torch', 'lightning', 'pandas', 'matplotlib'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in ("fit", "layers", "report"))


class TestBadInput:
    """One clear sentence, exit code 2, no traceback, nothing lost."""

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--sweep.layers", "earlier"], "Did you mean early"),
            (["--sweep.layers", "depth:2"], "not a depth"),
            (["--sweep.levels", "[0, 1]"], "A level is 1"),
            (["--sweep.levels", "[-0.1]"], "A level is -0.1"),
            (["--sweep.levels", "many"], "sweep.levels"),
            (["--sweep.draws", "0"], "draws is 0"),
            (["--sweep.threshold", "0"], "threshold"),
            (["--sweep.batch_size", "0"], "batch_size"),
            (["--sweep.nope", "1"], "--sweep.nope"),
            (["--trainer.max_steps", "-1"], "max_steps"),
            (["--trainer.gradient_clip_val", "1.0"], "gradient_clip_val"),
            (["--trainer.accelerator", "tpu"], "trainer section"),
            (["--trainer.devices", "2"], "one device"),
            (["--trainer.max_step", "3"], "--trainer.max_step"),
            (["--trainer.logger", "true"], "csv.yaml"),
            (["--seed_everything", "false"], "seed_everything"),
            (["--model.extractor", "Nope"], "there is no class Nope"),
            (["--model.extractor", "nowhere.Nope"], "No module named 'nowhere'"),
            (["--model.prior", "DeepImagePrior"], "at least 32 pixels"),
            (["--model.prior", "DeepImagePrior", "--model.prior.latent", "pink"], "'normal'"),
            (["--model.metric", "SSIM"], "can't serve as d_X"),
            (["--data.shape", "[3, 1, 1]", "--data.count", "0"], "count is 0"),
            (["--config", "missing.yaml"], "vgg_dip.yaml"),
            (["--sweep.tolerance", "-1"], "tolerance is -1"),
            (["--sweep.checkpoint_minutes", "0"], "checkpoint_minutes is 0"),
        ],
    )
    def test_settings(
        self,
        config: dict[str, Any],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        expected: str,
    ) -> None:
        assert expected in refused(fit(config, tmp_path, *arguments), capsys)

    def test_broken_yaml(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "broken.yaml"
        path.write_text("model: [unclosed")
        assert "broken.yaml" in refused(cli.main(["fit", "--config", str(path)]), capsys)

    @pytest.mark.parametrize("content", [None, "empty", "unreadable"])
    def test_folders(
        self, config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
    ) -> None:
        folder = tmp_path / "images"
        if content:
            folder.mkdir()
        if content == "unreadable":
            (folder / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
        config["data"] = {"class_path": "ImageFolder", "init_args": {"folder": str(folder), "size": 16}}
        line = refused(fit(config, tmp_path), capsys)
        assert ("torn.png" if content == "unreadable" else "images") in line

    def test_nan_weights(self, config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from torchvision.models import vgg19

        with torch.random.fork_rng():
            state = vgg19().features.state_dict()
        state["5.weight"][0, 0, 0, 0] = torch.nan
        torch.save(state, tmp_path / "nan.pth")
        arguments = ["--model.extractor", "VGG19", "--model.extractor.weights", str(tmp_path / "nan.pth")]
        line = refused(fit(config, tmp_path, *arguments, "--sweep.layers", "conv1_1"), capsys)
        assert "NaN or infinite" in line

    def test_a_constant_image(self, config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "images").mkdir()
        Image.new("RGB", (20, 20), "grey").save(tmp_path / "images" / "grey.png")
        config["data"] = {"class_path": "ImageFolder", "init_args": {"folder": str(tmp_path / "images"), "size": 16}}
        assert "grey.png" in refused(fit(config, tmp_path), capsys)

    @pytest.mark.usefixtures("swept")
    def test_a_broken_results_file(
        self, config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        part = sorted((tmp_path / "out" / "results").glob("*.parquet"))[0]
        whole = part.read_bytes()
        part.write_bytes(whole[: len(whole) // 2])
        capsys.readouterr()
        assert part.name in refused(cli.main(["report", str(tmp_path / "out")]), capsys)
        assert fit(config, tmp_path) == 0  # sets it aside
        printed = capsys.readouterr().out
        assert f"{part.name}.broken" in printed
        assert "4 already done" in printed

    def test_a_full_disk(
        self,
        config: dict[str, Any],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        write = parts.write_tables
        written: list[Path] = []

        def full_after_two(tables: Any, file: Path, schema: Any) -> None:
            if len(written) == 2:
                raise OSError(28, "No space left on device")
            write(tables, file, schema)
            written.append(file)

        monkeypatch.setattr(parts, "write_tables", full_after_two)
        assert "the disk is full" in refused(fit(config, tmp_path), capsys)
        assert len(load_results(tmp_path / "out")) == 4
        monkeypatch.undo()
        assert fit(config, tmp_path) == 0
        assert "4 already done" in capsys.readouterr().out

    def test_a_folder_that_cannot_be_written(
        self, config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("in the way")
        line = refused(fit(config, tmp_path, "--sweep.output", str(tmp_path / "file")), capsys)
        assert "choose another output folder" in line

    @pytest.mark.usefixtures("swept")
    def test_no_resume_refuses_a_folder_with_results(
        self, config: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        capsys.readouterr()
        assert "holds results" in refused(fit(config, tmp_path, "--sweep.resume", "false"), capsys)

    def test_a_report_of_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "no results" in refused(cli.main(["report", str(tmp_path)]), capsys)


@pytest.mark.real_weights
def test_real_weights_recover_a_real_photograph(tmp_path: Path) -> None:
    # the main job in small: one photograph, one low layer
    arguments = ["--data.names", "[astronaut]", "--sweep.layers", "conv1_2", "--sweep.levels", "[0, 0.3, 0.9]"]
    arguments += ["--trainer.max_steps", "80", "--sweep.output", str(tmp_path / "out")]
    assert cli.main(["fit", "--config", "vgg_dip.yaml", *arguments]) == 0
    results = load_results(tmp_path / "out")
    assert results["level"].tolist() == [0, 0.3, 0.9]
    assert results["verdict"].tolist()[:2] == ["recovered", "recovered"]
    assert results["distance"].is_monotonic_increasing
    assert results["distance"].tolist()[-1] > 0.2
    assert results["weights"].unique().tolist() == ["normalized"]


def test_the_discrepancy_protocol_is_another_readout_and_named_so(config: dict[str, Any], tmp_path: Path) -> None:
    longer = ["--trainer.max_steps", "200", "--sweep.levels", "[0.7]", "--sweep.layers", "early"]
    assert fit(config, tmp_path, *longer) == 0
    assert fit(config, tmp_path, *longer, "--model.protocol", "DiscrepancyProtocol") == 0
    results = load_results(tmp_path / "out", trajectories=True)
    assert [steps[-1] for steps in results["trajectory_step"]] == results["steps"].tolist()
    assert [curve[-1] for curve in results["trajectory_distance"]] == pytest.approx(results["distance"].tolist())
    by_protocol = results.groupby("protocol")
    assert set(by_protocol.groups) == {"paper", "discrepancy"}
    stopped, full = by_protocol.get_group("discrepancy"), by_protocol.get_group("paper")
    assert (full["steps"] == 200).all()
    assert (stopped["steps"] < 200).all()
    assert (stopped["loss"] <= stopped["floor"]).all()
    assert (pd.read_csv(tmp_path / "out" / "sizes.csv")["protocol"] == "discrepancy").all()


@pytest.mark.real_weights
@pytest.mark.parametrize(
    ("layer", "prior"),
    [("vgg_pixels", "Pixels"), ("vgg_cosine", "CosinePixels"), ("vgg_decoder_prior", "VGGDecoder")],
)
def test_configurations_that_exchange_the_prior_run_on_real_weights(layer: str, prior: str, tmp_path: Path) -> None:
    arguments = ["--data.names", "[coffee]", "--sweep.layers", "conv1_2", "--sweep.levels", "[0]"]
    arguments += ["--trainer.max_steps", "5", "--sweep.output", str(tmp_path / "out")]
    assert cli.main(["fit", "--config", "vgg_dip.yaml", "--config", f"{layer}.yaml", *arguments]) == 0
    results = load_results(tmp_path / "out")
    assert results["prior"].tolist() == [prior]
    assert results["recovered_feature_distance"].tolist()[0] < 1


@pytest.mark.real_weights
def test_pixels_begin_at_the_answer_of_a_decoder_of_real_weights(tmp_path: Path) -> None:
    arguments = ["--data.names", "[coffee]", "--sweep.layers", "conv1_2", "--sweep.levels", "[0]"]
    arguments += ["--model.start.training_steps", "2", "--model.start.training_data.count", "40"]
    arguments += ["--trainer.max_steps", "2", "--sweep.output", str(tmp_path / "out")]
    assert cli.main(["fit", "--config", "vgg_dip.yaml", "--config", "refined.yaml", *arguments]) == 0
    results = load_results(tmp_path / "out")
    assert results["start"].tolist() == ["TrainedDecoder"]
    assert results["distance"].tolist()[0] < 0.2  # the ridge regression, with which a training begins


@pytest.mark.real_weights
@pytest.mark.parametrize("protocol", ["fast", "discrepancy"])
def test_quick_protocols_search_for_sizes_under_their_own_name(protocol: str, tmp_path: Path) -> None:
    arguments = ["--data.names", "[coffee]", "--sweep.layers", "conv1_2"]
    arguments += ["--trainer.max_steps", "3", "--sweep.output", str(tmp_path / "out")]
    assert cli.main(["fit", "--config", "vgg_dip.yaml", "--config", f"{protocol}.yaml", *arguments]) == 0
    results = load_results(tmp_path / "out")
    assert set(results["protocol"]) == {protocol}
    assert results["level"].tolist() == [0.0, 0.5]  # in three steps nothing is recovered: a size of 0 from two levels


def test_curves_and_sizes_are_logged_as_csv(config: dict[str, Any], tmp_path: Path) -> None:
    config["trainer"]["callbacks"] = [{"class_path": "RecoveryCurve"}, {"class_path": "ProblemTable"}]
    assert fit(config, tmp_path, "--config", "csv.yaml") == 0
    results = load_results(tmp_path / "out")
    for layer in ("early", "middle"):
        logged = pd.read_csv(tmp_path / "out" / "logs" / layer / "metrics.csv")
        last = logged.loc[logged["optimisation_step"] == 10, "recovery/distance/level=0.5"].tolist()
        mine = results[(results["layer"] == layer) & (results["level"] == 0.5)]
        assert last == [pytest.approx(mine["distance"].mean())]
        recovered = (results.loc[results["layer"] == layer, "verdict"] == "recovered").sum()
        assert logged["verdicts/recovered"].dropna().tolist() == [recovered]


@pytest.mark.usefixtures("swept")
def test_results_carry_a_digest_of_the_weights(config: dict[str, Any], tmp_path: Path) -> None:
    assert fit(config, tmp_path, "--model.extractor.seed", "1") == 0
    results = load_results(tmp_path / "out")
    assert results["weights_digest"].nunique() == results["setting"].nunique() == 2
    assert results["weights_digest"].str.fullmatch("[0-9a-f]{16}").all()


def test_labels_of_an_image_folder_are_carried_into_the_results(config: dict[str, Any], tmp_path: Path) -> None:
    for place, label in enumerate(["cat", "dog"]):
        pixels = torch.randint(0, 255, (20, 20, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(place))
        (tmp_path / "images" / label).mkdir(parents=True)
        Image.fromarray(pixels.numpy()).save(tmp_path / "images" / label / "1.png")
    config["data"] = {"class_path": "ImageFolder", "init_args": {"folder": str(tmp_path / "images"), "size": 16}}
    assert fit(config, tmp_path) == 0
    results = load_results(tmp_path / "out")
    assert dict(zip(results["sample"], results["label"], strict=True)) == {"cat/1.png": "cat", "dog/1.png": "dog"}
