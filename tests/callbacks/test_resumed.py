"""A resumed sweep continues the same runs and logs nothing twice."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from lightning.pytorch import Callback, LightningModule, Trainer

from readout.callbacks import ProblemTable, Reconstructions, RecoveryCurve, SizeByLayer
from readout.callbacks.logbook import Entry, Logbook
from readout.common.errors import ReadoutError
from readout.data import InputData, UniformNoise
from readout.priors import Pixels
from readout.readouts import ImageInversion
from readout.store import ResultStore
from readout.sweep import Sweep
from readout.sweep.runtime import Runtime
from tests.callbacks.wandb_file import OfflineRun, read_runs
from tests.helpers import CPU
from tests.pages import ROOT
from tests.tiny import TinyNet

OFFLINE = {"project": "test", "offline": True}
WANDB = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": OFFLINE}
CSV = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "."}}


class PowerCut(Callback):
    """Raises in one fit, after one step."""

    def __init__(self, fit: int, step: int) -> None:
        self.fit, self.step, self.fits = fit, step, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.fits += 1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self.fits == self.fit and trainer.global_step == self.step:
            raise RuntimeError("power cut")


def sweep(
    output: Path,
    *more: Callback,
    loggers: tuple[Mapping[str, Any], ...] = (WANDB,),
    data: InputData | None = None,
    **arguments: Any,
) -> None:
    callbacks = [RecoveryCurve(every_n_steps=5), Reconstructions(), ProblemTable(), SizeByLayer(), *more]
    runtime = Runtime({**CPU, "max_steps": 10, "callbacks": callbacks}, loggers)
    settings = {"layers": ["early", "middle"], "levels": [0, 0.5], "batch_size": 2, **arguments}
    inversion = ImageInversion(TinyNet(), Pixels(), record_every=5)
    Sweep(output=str(output), **settings).run(inversion, data or UniformNoise(2, [3, 16, 16]), runtime)


def by_id(output: Path) -> dict[str, list[OfflineRun]]:
    found: dict[str, list[OfflineRun]] = {}
    for run in read_runs(output):
        found.setdefault(run.id, []).append(run)
    return found


def runs_of_any_kind(output: Path) -> set[str]:
    """Names of the logbook's files, one per run and logger."""
    return {path.name for path in (output / "logged").glob("*.json")}


def times_logged(parts: list[OfflineRun], prefix: str, axis: str) -> Counter[tuple[str, int]]:
    """Count the values of a metric at each place of its axis, over all parts of a run."""
    return Counter((name, row[axis]) for run in parts for row in run.history for name in row if name.startswith(prefix))


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """Restore the environment: W&B and its logger set variables that other tests would inherit."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[OfflineRun]:
    output = tmp_path_factory.mktemp("whole") / "out"
    sweep(output)
    return read_runs(output)


@pytest.mark.parametrize(("fit", "step"), [(2, 8), (3, 5)])
def test_interrupted_anywhere_the_parts_together_are_the_uninterrupted_runs(
    fit: int, step: int, whole: list[OfflineRun], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        sweep(tmp_path / "out", PowerCut(fit, step))
    for _ in range(2):  # the second time everything is complete, and nothing is opened
        sweep(tmp_path / "out")
    resumed = {parts[0].name: parts for parts in by_id(tmp_path / "out").values()}
    assert [len(resumed[run.name]) for run in whole] == [1 if fit == 3 else 2, 2 if fit == 3 else 1, 1]
    for uninterrupted in whole:
        parts = resumed[uninterrupted.name]
        for prefix, axis in (("live/", "trainer/global_step"), ("recovery/", "optimisation_step")):
            assert times_logged(parts, prefix, axis) == times_logged([uninterrupted], prefix, axis)
        for name in ("inversions", "representation_size/median", "size_by_layer/median"):
            assert list(chain.from_iterable(run.column(name) for run in parts)) == uninterrupted.column(name)


KILLED = """
import os, signal, sys
from pathlib import Path
import wandb
from tests.callbacks.test_resumed import CSV, WANDB, sweep

wandb.finish = lambda **_: os.kill(os.getpid(), signal.SIGKILL)
sweep(Path(sys.argv[1]), loggers=(WANDB, CSV), layers=["early"])
"""
"""Killed after a layer is logged and its CSV file is closed, just before its W&B run is."""


def test_killed_before_a_run_is_closed_that_run_gets_everything_again_and_no_other(tmp_path: Path) -> None:
    # with W&B's own variables the subprocess would share this process's connection
    alone = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")], cwd=ROOT, env=alone, check=False)
    assert killed.returncode == -signal.SIGKILL
    for _ in range(2):
        sweep(tmp_path / "out", loggers=(WANDB, CSV), layers=["early"])
    first, again, everything = read_runs(tmp_path / "out")
    assert first.files.parent.name.endswith(again.id)  # its file may hold nothing of what was logged
    assert (again.kind, everything.kind) == ("layer", "sweep")
    assert again.column("optimisation_step") == [0, 5, 10]
    assert again.column("inversions") == [4]
    assert len(again.table("problems")["data"]) == 4
    # a stored batch is not repeated on the axis of live values
    assert not again.column("live/distance/level=0")
    table = pd.read_csv(tmp_path / "out" / "logs" / "early" / "metrics.csv")
    assert table["optimisation_step"].dropna().tolist() == [0, 5, 10]
    assert table["inversions"].dropna().tolist() == [4]


def test_killed_between_batches_the_next_one_has_a_place_of_its_own_on_the_axis(tmp_path: Path) -> None:
    """The axis offset depends on the stored batches, so it is saved after each of them."""
    entry = Logbook(ResultStore(tmp_path)).entry("run", CSV)
    entry.live_start, entry.live_last, entry.curves = 10, 10, {"0": "logged"}
    entry.save_start()
    assert Logbook(ResultStore(tmp_path)).entry("run", CSV) == Entry(live_start=10)


def test_a_finished_sweep_is_logged_afterwards_without_inverting_anything(tmp_path: Path) -> None:
    sweep(tmp_path / "out", loggers=())
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()}
    sweep(tmp_path / "out")
    early, _, everything = read_runs(tmp_path / "out")
    assert len(early.table("problems")["data"]) == 4
    assert early.column("optimisation_step") == [0, 5, 10]
    assert not times_logged([early], "live/", "trainer/global_step")
    assert everything.column("layer_index") == [0, 1]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()} == written


def test_more_levels_go_on_in_the_same_run_and_repeat_no_curve(tmp_path: Path) -> None:
    sweep(tmp_path / "out", layers=["early"], levels=[0])
    sweep(tmp_path / "out", layers=["early"], levels=[0, 0.5])
    first, _, second, _ = read_runs(tmp_path / "out")
    assert second.id == first.id
    assert first.column("recovery/distance/level=0")
    assert not second.column("recovery/distance/level=0")
    assert len(second.column("recovery/distance/level=0.5")) == 3
    assert second.column("inversions") == [4]


def test_other_inputs_begin_runs_of_their_own(tmp_path: Path) -> None:
    sweep(tmp_path / "out", loggers=(CSV,))
    assert len(runs_of_any_kind(tmp_path / "out")) == 3
    sweep(tmp_path / "out", loggers=(CSV,), data=UniformNoise(3, [3, 16, 16]))
    assert len(runs_of_any_kind(tmp_path / "out")) == 6


def test_two_output_folders_never_share_a_run(tmp_path: Path) -> None:
    for user in ("one", "another"):
        sweep(tmp_path / user / "out", loggers=(CSV,))
    assert not runs_of_any_kind(tmp_path / "one" / "out") & runs_of_any_kind(tmp_path / "another" / "out")


def test_another_threshold_is_logged_to_the_same_run_without_its_curves(tmp_path: Path) -> None:
    sweep(tmp_path / "out", loggers=(CSV,), layers=["early"])
    first = runs_of_any_kind(tmp_path / "out")
    sweep(tmp_path / "out", loggers=(CSV,), layers=["early"], threshold=0.5)
    assert len(runs_of_any_kind(tmp_path / "out") - first) == 1  # the run of the whole sweep
    table = pd.read_csv(tmp_path / "out" / "logs" / "early" / "metrics.csv")
    assert table["inversions"].dropna().tolist() == [4, 4]
    assert table["optimisation_step"].dropna().tolist() == [0, 5, 10]


def test_an_id_of_the_users_own_would_put_all_layers_into_one_run_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match="a W&B run of its own"):
        sweep(tmp_path / "out", loggers=({**WANDB, "init_args": {**OFFLINE, "id": "mine"}},))


TENSORBOARD = {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": "."}}


@pytest.mark.parametrize("logger", [WANDB, CSV, TENSORBOARD], ids=["wandb", "csv", "tensorboard"])
def test_a_folder_that_a_logger_cannot_write_is_one_sentence(logger: Mapping[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    elsewhere = {**logger, "init_args": {**logger["init_args"], "save_dir": str(tmp_path / "file" / "logs")}}
    with pytest.raises(ReadoutError, match=r"file/logs.*': it can't be written") as raised:
        sweep(tmp_path / "out", loggers=(elsewhere,), layers=["early"])
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_disk_that_is_full_for_a_logger_is_one_sentence_and_its_layer_is_logged_later(tmp_path: Path) -> None:
    metrics = tmp_path / "out" / "logs" / "early" / "metrics.csv"
    metrics.parent.mkdir(parents=True)
    metrics.symlink_to("/dev/full")
    with pytest.raises(ReadoutError, match="out': the disk is full"):
        sweep(tmp_path / "out", loggers=(CSV,), layers=["early"])
    metrics.unlink()
    sweep(tmp_path / "out", loggers=(CSV,), layers=["early"])
    assert pd.read_csv(metrics)["inversions"].dropna().tolist() == [4]


def test_without_a_login_it_is_said_how_to_do_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    def no_key(**_: Any) -> None:
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", no_key)
    with pytest.raises(ReadoutError, match=r"No API key .*`wandb login`, or leave out .*offline false"):
        sweep(tmp_path / "out", layers=["early"])


@pytest.mark.parametrize("logger", [CSV, TENSORBOARD], ids=["csv", "tensorboard"])
def test_another_run_of_a_layer_has_a_folder_of_its_own_and_goes_on_there(
    logger: Mapping[str, Any], tmp_path: Path
) -> None:
    def folders() -> set[str]:
        return {path.name for path in (tmp_path / "logs").iterdir()}

    elsewhere = {**logger, "init_args": {"save_dir": str(tmp_path)}}
    sweep(tmp_path / "out", loggers=(elsewhere,), layers=["early"])
    assert folders() == {"early", "sweep"}
    sweep(tmp_path / "out", loggers=(elsewhere,), layers=["early"], draws=2)
    with_draws = folders()
    assert len(with_draws) == 4
    assert all(re.fullmatch(r"(early|sweep)(-[0-9a-f]{6})?", name) for name in with_draws)
    sweep(tmp_path / "out", loggers=(elsewhere,), layers=["early"], draws=2, levels=[0, 0.5, 0.7])
    assert {name for name in folders() if name.startswith("early")} == {name for name in with_draws if "early" in name}
    sweep(tmp_path / "other", loggers=(elsewhere,), layers=["early"])
    assert len([name for name in folders() if name.startswith("early")]) == 3


def test_each_judgement_of_a_sweep_has_its_sizes_in_a_file_of_its_own(tmp_path: Path) -> None:
    for threshold in (0.1, 0.5):
        sweep(tmp_path / "out", loggers=(CSV,), threshold=threshold)
    tables = [pd.read_csv(path) for path in (tmp_path / "out" / "logs").glob("sweep*/metrics.csv")]
    assert [table["layer_index"].dropna().tolist() for table in tables] == [[0, 1], [0, 1]]


def test_a_csv_that_is_there_is_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        sweep(tmp_path / "out", PowerCut(2, 8), loggers=(CSV,))
    sweep(tmp_path / "out", loggers=(CSV,))
    table = pd.read_csv(tmp_path / "out" / "logs" / "early" / "metrics.csv")
    assert table.loc[table["live/distance/level=0"].notna(), "step"].tolist() == [0, 5, 10, 15]
    assert table.loc[table["recovery/distance/level=0"].notna(), "step"].tolist() == [0, 5, 10]


def test_a_logbook_names_runs_by_folder_and_remembers_by_logger(tmp_path: Path) -> None:
    book = Logbook(ResultStore(tmp_path / "a"))
    run = book.run_id("layer", ["x"])
    assert run == Logbook(ResultStore(tmp_path / "a")).run_id("layer", ["x"])
    assert run != book.run_id("layer", ["y"])
    assert run != Logbook(ResultStore(tmp_path / "b")).run_id("layer", ["x"])
    entry = book.entry(run, WANDB)
    entry.live_last = 7
    entry.save()
    assert book.entry(run, WANDB).live_last == 7
    assert book.entry(run, {**WANDB, "init_args": {**OFFLINE, "offline": False}}).live_last == 7
    assert book.entry(run, {**WANDB, "init_args": {**OFFLINE, "project": "mine"}}) == Entry()
    assert book.entry(run, CSV) == Entry()
    assert not list((tmp_path / "a" / "logged").glob("sweep.*"))
