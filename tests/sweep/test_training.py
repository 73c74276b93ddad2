"""Readouts that are trained at a layer: kept weights, interruptions, damage, and what is shown and logged."""

import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from lightning.pytorch import LightningModule, Trainer
from safetensors.torch import load_file
from torch import Tensor

from readout import cli, load_results
from readout.data import InputData, UniformNoise
from readout.data.in_memory import ImagesInMemory
from readout.readouts import LinearDecoder, TrainedDecoder, TrainedReadout
from readout.readouts.linear_decoder import BATCH
from readout.sweep import Sweep, training
from readout.sweep.reporter import Reporter
from readout.sweep.runtime import Runtime
from tests.helpers import CPU, tiny_config, write_config
from tests.sweep.interrupted import LEVELS, assert_same_bits, checkpoint, hearing_signals, noise, run
from tests.tiny import TinyNet

STEPS = 6
TINY: dict[str, Any] = {"training_steps": STEPS, "batch_size": 4, "width": 4, "blocks": 1}


@pytest.fixture(autouse=True)
def _signals_are_heard() -> Iterator[None]:
    with hearing_signals():
        yield


class Steps:
    """Training steps as they are reported; presses Ctrl-C after one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.press_at: int | None = None
        self._seen: list[int] = []
        end = Reporter.on_train_batch_end

        def on_train_batch_end(reporter: Reporter, trainer: Trainer, pl_module: LightningModule, *more: Any) -> None:
            end(reporter, trainer, pl_module, *more)
            self._seen.append(reporter.steps)
            if reporter.steps == self.press_at:
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(Reporter, "on_train_batch_end", on_train_batch_end)

    def taken(self) -> list[int]:
        """Return those since the last call."""
        seen, self._seen = self._seen, []
        return seen


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


def training_data(count: int = 24, seed: int = 1) -> InputData:
    return UniformNoise(count, (3, 16, 16), seed)


def decoder(data: InputData | None = None) -> TrainedReadout:
    return TrainedDecoder(TinyNet(), data or training_data(), **TINY)


def trained(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Weights by file name."""
    return {path.name: load_file(path) for path in (folder / "trained").iterdir()}


def same(found: Mapping[str, Mapping[str, Tensor]], expected: Mapping[str, Mapping[str, Tensor]]) -> bool:
    """Return whether files and weights are the same to the bit."""
    return found.keys() == expected.keys() and all(
        torch.equal(found[file][name], expected[file][name]) for file in expected for name in expected[file]
    )


def spoil(path: Path) -> None:
    """Flip a bit."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def interrupt(folder: Path, readout: TrainedReadout, steps: Steps, at: int) -> str:
    steps.press_at = at
    with pytest.raises(KeyboardInterrupt) as stopped:
        run(folder, readout, noise())
    assert steps.taken() == list(range(1, at + 1))
    assert not (folder / "trained").exists()
    steps.press_at = None
    return str(stopped.value)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a sweep that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, decoder(), noise())
    return folder


def test_an_interrupted_training_goes_on_to_the_bit(tmp_path: Path, whole: Path, steps: Steps) -> None:
    said = interrupt(tmp_path, decoder(), steps, at=4)
    assert said == "Stopped after step 4 of 6, which is saved; the same command goes on from there."
    assert not any("extractor" in name for name in checkpoint(tmp_path)["state_dict"])
    said, _ = run(tmp_path, decoder(), noise())
    assert "going on at step 4 of a training that was stopped" in said
    assert steps.taken() == [5, 6]
    assert same(trained(tmp_path), trained(whole))
    assert_same_bits(tmp_path, whole)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("fault", ["is damaged", "was written by other software"])
def test_a_checkpoint_that_cannot_be_used_is_said_and_the_training_starts_over(
    tmp_path: Path, whole: Path, steps: Steps, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(tmp_path, decoder(), steps, at=3)
    (path,) = (tmp_path / "checkpoints").glob("*.ckpt")
    if fault == "is damaged":
        spoil(path)
    else:
        monkeypatch.setattr(training, "versions", dict)
    said, _ = run(tmp_path, decoder(), noise())
    assert f"{path.name} {fault}, so its training starts over" in said.replace("\n", " ")
    assert steps.taken() == list(range(1, STEPS + 1))
    assert same(trained(tmp_path), trained(whole))


def test_a_regression_that_is_interrupted_starts_over(tmp_path: Path, steps: Steps) -> None:
    def linear() -> TrainedReadout:
        return LinearDecoder(TinyNet(), training_data(4 * BATCH))

    said = interrupt(tmp_path / "out", linear(), steps, at=3)
    assert said.startswith("Stopped in the middle of a training, which will start over; what is finished is kept")
    for folder in ("out", "whole"):
        run(tmp_path / folder, linear(), noise())
        assert steps.taken() == [1, 2, 3, 4]
    assert same(trained(tmp_path / "out"), trained(tmp_path / "whole"))
    assert_same_bits(tmp_path / "out", tmp_path / "whole")


def test_weights_are_kept_by_layer_and_precision_and_not_trained_again(
    tmp_path: Path, whole: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, tmp_path / "out")
    # a Trainer of this precision changes the type of the network's own weights
    settings: dict[str, Any] = {"layers": ["early", "middle"], "precision": "64-true"}
    _, first = run(tmp_path / "out", decoder(), noise(), levels=[0.5], **settings)
    assert steps.taken() == 2 * list(range(1, STEPS + 1))
    kept = trained(tmp_path / "out")
    assert len(kept) == 3
    monkeypatch.setattr(TrainedDecoder, "make_training", None)  # not even a rehearsal
    _, second = run(tmp_path / "out", decoder(), noise(), levels=[0.5, 0.7], **settings)
    assert same(trained(tmp_path / "out"), kept)
    columns = ["distance", "training_data"]
    before, after = (one.set_index("key").loc[first["key"], columns] for one in (first, second))
    pd.testing.assert_frame_equal(after, before)
    assert len(second) == len(first) + 4
    assert set(second["training_inputs"]) == {24}


def test_damaged_weights_are_set_aside_and_trained_again(tmp_path: Path, whole: Path, steps: Steps) -> None:
    shutil.copytree(whole, tmp_path / "out")
    (path,) = (tmp_path / "out" / "trained").iterdir()
    spoil(path)
    said, _ = run(tmp_path / "out", decoder(), noise(), levels=[0.0, 0.9])
    assert "the readout is trained again" in said
    assert steps.taken() == list(range(1, STEPS + 1))
    path.with_name(f"{path.name}.broken").unlink()
    assert same(trained(tmp_path / "out"), trained(whole))


def test_other_training_data_give_other_weights_and_other_problems(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path / "out")
    _, table = run(tmp_path / "out", decoder(training_data(seed=2)), noise())
    assert table["training_data"].nunique() == 2
    assert table["key"].is_unique
    assert len(table) == 2 * len(load_results(whole))
    first, second = trained(tmp_path / "out").values()
    assert not any(torch.equal(first[name], second[name]) for name in first if "weight" in name)


def test_order_and_names_of_the_training_inputs_do_not_matter(tmp_path: Path, whole: Path) -> None:
    images = [one.input for one in training_data()]
    run(tmp_path, decoder(ImagesInMemory({f"x{place}": image for place, image in enumerate(images[::-1])})), noise())
    assert same(trained(tmp_path), trained(whole))
    assert_same_bits(tmp_path, whole)


def test_the_plan_names_the_steps_of_the_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = {"class_path": "UniformNoise", "init_args": {"count": 24, "shape": [3, 16, 16], "seed": 1}}
    model = {"extractor": {"class_path": "tests.tiny.TinyNet"}, "training_data": noise, **TINY}
    config = tiny_config(tmp_path / "out", sweep={"plan_only": True})
    config["model"] = {"class_path": "TrainedDecoder", "init_args": model}
    assert cli.main(["fit", "--config", str(write_config(tmp_path / "config.yaml", config))]) == 0
    assert re.search(r"training +12 steps at 2 layers, about \d", capsys.readouterr().out)
    assert not (tmp_path / "out").exists()


def test_a_logger_has_a_run_of_the_training_of_its_own(tmp_path: Path) -> None:
    csv = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": ".", "name": "csv"}}
    runtime = Runtime({**CPU, "log_every_n_steps": 1}, [csv])
    Sweep("middle", LEVELS, output=str(tmp_path)).run(decoder(), noise(), runtime)
    assert {path.name for path in (tmp_path / "csv").iterdir()} == {"middle-training", "middle", "sweep"}
    logged = tmp_path / "csv" / "middle-training"
    losses = pd.read_csv(logged / "metrics.csv")["train_loss"]
    assert len(losses) == STEPS
    assert losses.notna().all()
    assert yaml.safe_load((logged / "hparams.yaml").read_text())["training_inputs"] == 24
