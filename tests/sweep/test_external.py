"""`invert`, driven as a user drives it, with answers that are known."""

import math
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

from readout import cli, load_results
from readout.data.images import read_image, write_png
from readout.store import ResultStore
from readout.sweep.checkpoints import BatchCheckpoint
from tests.external.test_files import save
from tests.helpers import tiny_config, write_config
from tests.sweep.interrupted import assert_same_bits, hearing_signals
from tests.test_cli import refused
from tests.tiny import TinyNet

SIDE = 16
IMAGES = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


def config(folder: Path, extractor: str = "tests.tiny.TinyNet", steps: int = 10, **more: Any) -> Path:
    settings = tiny_config(folder / "fit", trainer={"max_steps": steps})
    model = settings["model"]["init_args"]
    model["extractor"]["class_path"] = extractor
    model |= more
    return write_config(folder / "config.yaml", settings)


def newton(folder: Path, size: int = 3 * SIDE * SIDE) -> Path:
    """The loss is a quadratic in the image, so one step of size D/2 solves it where f(x) = x."""
    sgd = {"class_path": "torch.optim.SGD", "init_args": {"lr": size / 2}}
    return config(folder, "tests.tiny.Identity", 2, optimizer=sgd, lr_schedule=None)


def invert(config: Path, *more: str | Path) -> int:
    output = [] if "--output" in more else ["--output", str(config.parent / "out")]
    return cli.main(["invert", "--config", str(config), *map(str, more), *output])


def recovered(folder: Path) -> dict[str, Tensor]:
    results = load_results(folder)
    tensors = ResultStore(folder).load_recovered(results["key"])
    return {sample: tensors[key] for sample, key in zip(results["sample"], results["key"], strict=True)}


def tiny_features(*layers: str) -> dict[str, Any]:
    net = TinyNet()
    return {layer: net.extract(IMAGES, layer).numpy() for layer in layers}


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".mat"])
def test_where_the_feature_is_the_image_it_comes_back(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / f"decoded{suffix}", {"identity": IMAGES.numpy()})
    layer = ["--layer", "identity"] if suffix == ".npy" else []
    assert invert(newton(tmp_path), "--features", path, *layer) == 0
    out = tmp_path / "out"
    found = recovered(out)
    assert list(found) == ["decoded_000", "decoded_001"]
    for place, image in enumerate(IMAGES):
        torch.testing.assert_close(found[f"decoded_{place:03d}"], image)
        picture = read_image(out / "recovered" / "identity" / f"decoded_{place:03d}.png")
        torch.testing.assert_close(picture, image, atol=0.5 / 255 + 1e-6, rtol=0)
    table = pd.read_csv(out / "recovered.csv")
    assert table["sample"].tolist() == list(found)
    assert table["target_distance.identity"].max() < 1e-6
    assert not {"distance", "floor", "verdict"} & set(table.columns)  # nothing is known of true inputs
    assert "2, 0 with a true input" in capsys.readouterr().out


def test_true_inputs_bring_scores_and_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # one feature is the image's own, another lies far off, and of the third nothing is known
    generator = torch.Generator().manual_seed(5)
    other = torch.rand(3, SIDE, SIDE, generator=generator)
    given = {"cat": IMAGES[0].numpy(), "dog": other.numpy(), "fox": other.numpy()}
    (tmp_path / "true").mkdir()
    write_png(IMAGES[0], tmp_path / "true" / "cat.png")
    write_png(IMAGES[1], tmp_path / "true" / "dog.png")
    path = save(tmp_path / "decoded.npz", given)
    true = tmp_path / "true"
    assert invert(newton(tmp_path), "--features", path, "--layer", "identity", "--true", true) == 0
    printed = capsys.readouterr().out
    assert "3, 2 with a true input" in printed
    results = load_results(tmp_path / "out").set_index("sample")
    assert results["verdict"].iloc[:2].tolist() == ["recovered", "unrecovered"]
    assert results["verdict"].isna().tolist() == [False, False, True]
    # f(x) = x: what is recovered is the given feature, so d_X is its d_H to the true input's
    distance = results["feature_distance.identity"].to_list()[1]
    assert distance > 0.5
    assert results["distance"].to_list()[1] == pytest.approx(distance, abs=1e-5)
    rounding = (1 / 255) ** 2 / 12
    assert results["floor"].to_list()[0] == pytest.approx(rounding, rel=0.2)  # pictures have 8 bits
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:image/webp") == 5
    assert "unrecovered" in page
    assert "nan" not in re.sub(r"data:[^\"]*|<svg.*?</svg>", "", page, flags=re.S)


def test_too_few_steps_are_not_converged_and_say_nothing_of_the_feature(tmp_path: Path) -> None:
    (tmp_path / "true").mkdir()
    write_png(IMAGES[0], tmp_path / "true" / "cat.png")
    path = save(tmp_path / "cat.npz", {"early": tiny_features("early")["early"][:1]})
    assert invert(config(tmp_path), "--features", path, "--true", tmp_path / "true", "--trainer.max_steps", "1") == 0
    assert load_results(tmp_path / "out")["verdict"].tolist() == ["not_converged"]


def test_a_weight_of_0_on_one_layer_leaves_the_other_alone(tmp_path: Path) -> None:
    both = save(tmp_path / "decoded.npz", tiny_features("early", "late"))
    sgd = {"class_path": "torch.optim.SGD", "init_args": {"lr": 20.0}}
    settings = config(tmp_path, optimizer=sgd)
    for name, more in {
        "alone": ["--layer", "late"],
        "weighted": ["--layer_weights", "{early: 0}"],
        "both": [],
        "balanced": ["--layer_weights", "balanced"],
    }.items():
        assert invert(settings, "--features", both, *more, "--output", tmp_path / name) == 0
    found = {name: recovered(tmp_path / name) for name in ("alone", "weighted", "both", "balanced")}
    # the prior's seed follows from what is given, so both start elsewhere, but from nearly the same grey
    for name in ("decoded_000", "decoded_001"):
        assert (found["alone"][name] - found["weighted"][name]).abs().max() < 0.1
        assert (found["both"][name] - found["weighted"][name]).abs().max() > 1e-3
        assert (found["balanced"][name] - found["both"][name]).abs().max() > 1e-3
    alone, weighted = (load_results(tmp_path / name) for name in ("alone", "weighted"))
    np.testing.assert_allclose(weighted["loss"], weighted["loss.late"], rtol=1e-5)
    np.testing.assert_allclose(alone["loss"], alone["loss.late"], rtol=1e-5)
    assert weighted["layer"].unique().tolist() == ["early+late"]
    assert (tmp_path / "both" / "recovered" / "early+late" / "decoded_000.png").is_file()


def test_a_linear_extractor_gives_back_what_least_squares_does(tmp_path: Path) -> None:
    # h' need not be the feature of any image: x̂ is then the projection
    expansion, shape = 4, (3, 8, 8)
    size = math.prod(shape)
    settings = tiny_config(tmp_path / "fit", data={"class_path": "UniformNoise", "init_args": {"shape": list(shape)}})
    settings["model"] = {
        "class_path": "FeatureInversion",
        "init_args": {
            "extractor": {
                "class_path": "OrthonormalLinear",
                "init_args": {"input_shape": list(shape), "expansion": expansion},
            },
            "prior": {"class_path": "Pixels", "init_args": {"clamp": False}},
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": expansion * size / 2}},
            "lr_schedule": None,
        },
    }
    settings["trainer"]["max_steps"] = 3
    from readout.extractors import OrthonormalLinear

    net = OrthonormalLinear(shape, expansion)
    feature = torch.randn(expansion * size, generator=torch.Generator().manual_seed(2))
    path = save(tmp_path / "decoded.npz", {"linear": feature.numpy()})
    assert invert(write_config(tmp_path / "config.yaml", settings), "--features", path) == 0
    (weight,) = net.parameters()
    expected = 0.5 + weight.T @ feature
    torch.testing.assert_close(recovered(tmp_path / "out")["decoded"].flatten(), expected, atol=1e-4, rtol=1e-4)
    (row,) = load_results(tmp_path / "out").to_dict("records")
    residual = feature - weight @ (weight.T @ feature)
    assert row["loss"] == pytest.approx(float(residual.square().mean()), rel=1e-4)


def test_what_is_finished_is_not_computed_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "decoded.npz", tiny_features("early"))
    settings = config(tmp_path)
    assert invert(settings, "--features", path) == 0
    before = {part: part.stat().st_mtime_ns for part in (tmp_path / "out" / "results").iterdir()}
    page = (tmp_path / "out" / "report.html").read_text()
    capsys.readouterr()
    assert invert(settings, "--features", path) == 0
    assert "nothing left to do" in capsys.readouterr().out
    assert {part: part.stat().st_mtime_ns for part in (tmp_path / "out" / "results").iterdir()} == before
    # from the configuration that was kept, and more features: only those are new
    more = save(tmp_path / "more.npz", {"early": tiny_features("early")["early"][:1] + 1})
    kept = ["invert", "--config", str(tmp_path / "out" / "config.yaml")]
    assert cli.main([*kept, "--features", str(path), str(more)]) == 0
    assert "3, 0 with a true input; 2 already done" in capsys.readouterr().out
    assert cli.main(kept) == 0
    # other steps are another readout
    assert invert(settings, "--features", path, "--trainer.max_steps", "11") == 0
    assert "already done" not in capsys.readouterr().out.split("nothing left to do")[-1]
    assert invert(settings, "--features", path) == 0
    assert cli.main(["report", str(tmp_path / "out")]) == 0
    assert "early" in page


def test_a_plan_can_be_had_without_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "decoded.npz", tiny_features("early"))
    assert invert(config(tmp_path), "--features", path, "--sweep.plan_only", "true") == 0
    assert "2, 0 with a true input" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_the_report_is_made_again_from_disk_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "decoded.npz", tiny_features("early", "late"))
    assert invert(config(tmp_path), "--features", path) == 0
    page = tmp_path / "out" / "report.html"
    before = page.read_text()
    page.unlink()
    assert cli.main(["report", str(tmp_path / "out")]) == 0
    assert page.read_text() == before


def test_a_true_input_belongs_to_the_features_of_every_subject(tmp_path: Path) -> None:
    values = tiny_features("early", "late")
    for subject, name in (("S1", "cat"), ("S1", "dog"), ("S2", "cat")):
        for layer, rows in values.items():
            (tmp_path / "decoded" / layer / subject / "VC").mkdir(parents=True, exist_ok=True)
            save(tmp_path / "decoded" / layer / subject / "VC" / f"{name}.mat", {"feat": rows[0]})
    (tmp_path / "true").mkdir()
    write_png(IMAGES[0], tmp_path / "true" / "cat.png")
    settings = config(tmp_path, steps=2)
    assert invert(settings, "--features", tmp_path / "decoded", "--true", tmp_path / "true") == 0
    results = load_results(tmp_path / "out").set_index("sample")
    assert results["distance"].notna().to_dict() == {"S1/VC/cat": True, "S1/VC/dog": False, "S2/VC/cat": True}
    assert len([*(tmp_path / "out" / "recovered" / "early+late").iterdir()]) == 3


@pytest.mark.parametrize("then", ["true inputs", "other features", "another threshold"])
def test_the_report_shows_what_the_last_prediction_showed(tmp_path: Path, then: str) -> None:
    (tmp_path / "true").mkdir()
    write_png(IMAGES[0], tmp_path / "true" / "decoded_000.png")
    path, true = save(tmp_path / "decoded.npz", tiny_features("early")), ["--true", str(tmp_path / "true")]
    settings = config(tmp_path)
    assert invert(settings, "--features", path, *(true if then == "another threshold" else [])) == 0
    first = len(load_results(tmp_path / "out"))
    if then == "other features":
        save(path, {"early": tiny_features("early")["early"] + 1})
    more = {"true inputs": true, "other features": [], "another threshold": [*true, "--sweep.threshold", "1.9"]}
    assert invert(settings, "--features", path, *more[then]) == 0
    assert len(load_results(tmp_path / "out")) > first or then == "another threshold"
    shown = [tmp_path / "out" / name for name in ("recovered.csv", "report.html")]
    before = [file.read_text() for file in shown]
    assert len(pd.read_csv(shown[0])) == 2
    assert cli.main(["report", str(tmp_path / "out")]) == 0
    assert [file.read_text() for file in shown] == before


class TestBadInput:
    """One clear sentence, exit code 2, no traceback."""

    @pytest.mark.parametrize(
        ("arrays", "more", "words"),
        [
            ({"early": np.ones((8, 9, 9))}, [], "Try --size 9"),
            ({"early": np.ones((7, 16, 16))}, [], "early of TinyNet gives 8 × 16 × 16 for inputs of 3 × 16 × 16"),
            ({"early": np.full((8, 16, 16), np.nan)}, [], "2048 of 2048 values"),
            ({"early": np.zeros((0, 8, 16, 16))}, [], "is empty"),
            ({"erly": np.ones((8, 16, 16))}, [], "Did you mean early"),
            ({"early": np.random.rand(8, 16, 16)}, ["--layer", "nope"], "no layer 'nope'"),
            ({"early": np.random.rand(8, 16, 16)}, ["--layer_weights", "{late: 1}"], "names 'late'"),
            ({"early": np.random.rand(8, 16, 16)}, ["--layer_weights", "{early: -1}"], "is -1"),
            ({"early": np.random.rand(8, 16, 16)}, ["--layer_weights", "equal"], "'balanced'"),
            ({"early": np.random.rand(8, 16, 16)}, ["--true", "nowhere"], "no folder 'nowhere'"),
            ({"early": np.random.rand(8, 16, 16)}, ["--size", "0"], "--size is 0"),
            (
                {"early": np.random.rand(8, 16, 16)},
                ["--model.protocol", "DiscrepancyProtocol"],
                "known for 0 of 1 features; give true inputs",
            ),
            ({"early": np.random.rand(8, 16, 16)}, ["--model.prior", "DeepImagePrior"], "at least 32 pixels"),
        ],
    )
    def test_features(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, Any], more: list[str], words: str
    ) -> None:
        path = save(tmp_path / "decoded.npz", arrays)
        assert words in refused(invert(config(tmp_path), "--features", path, *more), capsys)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn"])
    def test_an_unreadable_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
        (tmp_path / "torn.npz").write_bytes(content)
        assert "torn.npz" in refused(invert(config(tmp_path), "--features", tmp_path / "torn.npz"), capsys)

    def test_nothing_given(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "--features" in refused(invert(config(tmp_path)), capsys)

    def test_true_inputs_of_other_names(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "true").mkdir()
        Image.new("RGB", (20, 20)).save(tmp_path / "true" / "dog.png")
        path = save(tmp_path / "cat.npz", tiny_features("early"))
        line = refused(invert(config(tmp_path), "--features", path, "--true", tmp_path / "true"), capsys)
        assert "cat_000.png" in line

    def test_two_features_of_one_name(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = save(tmp_path / "cat.npz", tiny_features("early"))
        line = refused(invert(config(tmp_path), "--features", path, path), capsys)
        assert "Two features of early are named 'cat_000'" in line

    def test_a_constant_true_input(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "true").mkdir()
        Image.new("RGB", (20, 20)).save(tmp_path / "true" / "cat.png")
        path = save(tmp_path / "cat.npz", {"early": tiny_features("early")["early"][:1]})
        line = refused(invert(config(tmp_path), "--features", path, "--true", tmp_path / "true"), capsys)
        assert "'cat' is constant" in line

    def test_a_sweep_in_the_folder_of_given_features(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = save(tmp_path / "decoded.npz", tiny_features("early"))
        assert invert(config(tmp_path), "--features", path) == 0
        line = refused(
            cli.main(["fit", "--config", str(config(tmp_path)), "--sweep.output", str(tmp_path / "out")]), capsys
        )
        assert "holds what `invert` recovered" in line

    def test_several_layers_in_one_graph(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = save(tmp_path / "decoded.npz", tiny_features("early", "late"))
        inversion = ["--model.cuda_graph", "true"]
        assert "leave out cuda_graph" in refused(invert(config(tmp_path), "--features", path, *inversion), capsys)

    def test_recovered_inputs_that_are_gone(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = save(tmp_path / "decoded.npz", tiny_features("early"))
        assert invert(config(tmp_path), "--features", path) == 0
        for part in (tmp_path / "out" / "recovered").glob("*.safetensors"):
            part.unlink()
        capsys.readouterr()
        assert cli.main(["report", str(tmp_path / "out")]) == 0
        page = tmp_path / "out" / "report.html"
        assert "The recovered inputs of 2 of 2 features are missing" in page.read_text()
        assert invert(config(tmp_path), "--features", path) == 0
        assert "are missing" not in page.read_text()

    def test_a_report_of_features_that_nobody_knows(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = save(tmp_path / "decoded.npz", tiny_features("early"))
        assert invert(config(tmp_path), "--features", path) == 0
        (tmp_path / "out" / "keys.txt").write_text("0123456789abcdef\n")
        capsys.readouterr()
        assert "is finished; run the same command" in refused(cli.main(["report", str(tmp_path / "out")]), capsys)
        (tmp_path / "out" / "keys.txt").unlink()
        assert "lists the features of the last" in refused(cli.main(["report", str(tmp_path / "out")]), capsys)

    def test_the_folder_of_a_sweep(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        settings = config(tmp_path)
        assert cli.main(["fit", "--config", str(settings)]) == 0
        capsys.readouterr()
        path = save(tmp_path / "decoded.npz", tiny_features("early"))
        line = refused(invert(settings, "--features", path, "--output", tmp_path / "fit"), capsys)
        assert "results of a sweep" in line

    @pytest.mark.parametrize("layers", ["[early", "[early: late]"])
    def test_a_list_of_layers_that_is_none(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], layers: str
    ) -> None:
        path = save(tmp_path / "decoded.npz", tiny_features("early"))
        line = refused(invert(config(tmp_path), "--features", path, "--layer", layers), capsys)
        assert f"--layer is {layers!r}, which is no list of names; write '[conv1_2, conv3_1]'" in line


@pytest.mark.parametrize("layers", [["early", "late"], ["[early, late]"], ["late", "[early]"]])
def test_layers_are_named_as_words_or_as_a_list(tmp_path: Path, layers: list[str]) -> None:
    path = save(tmp_path / "decoded.npz", tiny_features("early", "middle", "late"))
    assert invert(config(tmp_path, steps=2), "--features", path, "--layer", *layers) == 0
    assert load_results(tmp_path / "out")["layer"].unique().tolist() == ["early+late"]
    kept = yaml.safe_load((tmp_path / "out" / "config.yaml").read_text())
    assert sorted(kept["layer"]) == ["early", "late"]


def test_an_interrupted_prediction_goes_on_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    features: list[str | Path] = ["--features", save(tmp_path / "decoded.npz", tiny_features("early", "middle"))]
    settings = config(tmp_path)
    assert invert(settings, *features, "--output", tmp_path / "whole") == 0
    ask = BatchCheckpoint.on_train_batch_end

    def press(self: BatchCheckpoint, trainer: Trainer, *arguments: Any) -> None:
        if trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        ask(self, trainer, *arguments)

    with monkeypatch.context() as patch, hearing_signals():
        patch.setattr(BatchCheckpoint, "on_train_batch_end", press)
        assert invert(settings, *features) == 130
    assert "Stopped after step 4 of 10, which is saved" in capsys.readouterr().err
    assert invert(settings, *features) == 0
    assert "going on at step 4 with 2 inversions" in capsys.readouterr().out
    assert_same_bits(tmp_path / "out", tmp_path / "whole")
