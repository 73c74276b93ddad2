"""Checkpoints: when they are written, what they hold, and those that are of no use."""

import errno
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from safetensors.torch import load_file

from readout.common.errors import ReadoutError
from readout.perturbations import GaussianPerturbation
from readout.problems import Problem
from readout.readouts.run import make_batch
from readout.sweep.checkpoints import BatchCheckpoint
from tests.sweep.interrupted import (
    LEVELS,
    InterruptAt,
    assert_same_bits,
    checkpoint,
    dip,
    dip_that_leaves,
    hearing_signals,
    interrupt,
    noise,
    pixels_by_momentum,
    pixels_that_leave,
    run,
)


@pytest.fixture(autouse=True)
def _signals_are_heard() -> Iterator[None]:
    with hearing_signals():
        yield


# Checkpoints that are due, and those that are of no use


def often(monkeypatch: pytest.MonkeyPatch, step: int) -> list[int]:
    """Let the clock of checkpoints run so that one is due every so many steps; the steps at which they were written."""
    written: list[int] = []
    save = BatchCheckpoint._save

    def counted(self: BatchCheckpoint, trainer: Trainer) -> str | None:
        written.append(trainer.global_step)
        return save(self, trainer)

    def due(self: BatchCheckpoint, trainer: Trainer, *arguments: Any) -> None:
        self._due = 0.0 if trainer.global_step % step == 0 else math.inf
        on_train_batch_end(self, trainer, *arguments)

    on_train_batch_end = BatchCheckpoint.on_train_batch_end
    monkeypatch.setattr(BatchCheckpoint, "on_train_batch_end", due)
    monkeypatch.setattr(BatchCheckpoint, "_save", counted)
    return written


class Crash(Callback):
    """Ends the sweep at a step as a bug or a lost device would."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == self.at:
            raise RuntimeError("crashed")


def test_after_a_crash_a_batch_goes_on_from_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole", dip_that_leaves(), noise())
    written = often(monkeypatch, 8)
    with pytest.raises(RuntimeError, match="crashed"):
        run(tmp_path / "out", dip_that_leaves(), noise(), InterruptAt(), Crash(21))
    assert written == [8, 16]
    assert len(list((tmp_path / "out" / "checkpoints").glob("*.ckpt"))) == 1
    again = InterruptAt()
    run(tmp_path / "out", dip_that_leaves(), noise(), again)
    assert again.begun == [16, 0]
    assert_same_bits(tmp_path / "out", tmp_path / "whole")


def test_a_checkpoint_is_not_written_before_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    monkeypatch.setattr(BatchCheckpoint, "_save", lambda self, trainer: written.append(trainer.global_step))
    run(tmp_path, dip(), noise(), checkpoint_minutes=60)
    run(tmp_path, pixels_that_leave(), noise(), checkpoint_minutes=None)
    assert written == []


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "can't be read"),
        (lambda path: path.write_bytes(b""), "can't be read"),
        (lambda path: torch.save({}, path), "can't be read"),
        (lambda path: alter(path, versions={"readout": "0.0"}), "other software (readout 0.0)"),
        (lambda path: alter(path, keys=[*keys_in(path), "another"]), "not all left to do"),
    ],
)
def test_a_checkpoint_of_no_use_is_explained_and_the_batch_starts_over(
    tmp_path: Path, damage: Callable[[Path], object], why: str
) -> None:
    run(tmp_path / "whole", pixels_that_leave(), noise())
    interrupt(tmp_path / "out", pixels_that_leave(), noise(), 9)
    (path,) = (tmp_path / "out" / "checkpoints").glob("*.ckpt")
    damage(path)
    again = InterruptAt()
    said, _ = run(tmp_path / "out", pixels_that_leave(), noise(), again)
    assert f"{path} " in said
    assert why in said
    assert said.count("so its batch starts over") == 1
    assert again.begun == [0, 0]
    assert_same_bits(tmp_path / "out", tmp_path / "whole")
    assert not path.exists()


def keys_in(path: Path) -> list[str]:
    """Keys of the problems that a checkpoint is of."""
    return list(torch.load(path, weights_only=True)["batch"]["keys"])


def alter(path: Path, **changes: Any) -> None:
    """Change what a checkpoint says of its batch."""
    content = torch.load(path, weights_only=True)
    content["batch"] |= changes
    torch.save(content, path)


def test_a_checkpoint_of_a_finished_batch_goes_without_a_word(tmp_path: Path) -> None:
    interrupt(tmp_path, pixels_that_leave(), noise(), 9)
    (path,) = (tmp_path / "checkpoints").glob("*.ckpt")
    kept = path.read_bytes()
    run(tmp_path, pixels_that_leave(), noise(), levels=LEVELS[:2])
    path.parent.mkdir(exist_ok=True)
    run(tmp_path, pixels_that_leave(), noise(), levels=LEVELS[:3])
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(kept)
    said, table = run(tmp_path, pixels_that_leave(), noise(), levels=[*LEVELS[:3], 0.9])
    assert len(table) == 8
    assert "starts over" in said  # level 0.7 is not asked for any more
    path.parent.mkdir(exist_ok=True)
    run(tmp_path, pixels_that_leave(), noise())
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(kept)
    said, _ = run(tmp_path, pixels_that_leave(), noise(), levels=[*LEVELS, 0.8])
    assert "starts over" not in said
    assert not path.exists()


def test_a_larger_batch_than_asked_for_is_not_gone_on_with(tmp_path: Path) -> None:
    interrupt(tmp_path, pixels_that_leave(), noise(), 9)
    again = InterruptAt()
    said, _ = run(tmp_path, pixels_that_leave(), noise(), again, batch_size=2)
    assert "is of 4 problems side by side, more than batch_size says" in said
    assert again.begun == [0, 0, 0, 0]
    assert not (tmp_path / "checkpoints").exists()


def test_a_smaller_batch_than_asked_for_is_gone_on_with_first(tmp_path: Path) -> None:
    interrupt(tmp_path, pixels_that_leave(), noise(), 9)
    again = InterruptAt()
    run(tmp_path, pixels_that_leave(), noise(), again, batch_size=8)
    assert again.begun == [9, 0]
    assert sorted(batches(tmp_path)) == [4, 4]


def test_all_batches_that_were_stopped_go_on(tmp_path: Path) -> None:
    both = ["early", "middle"]
    run(tmp_path / "whole", pixels_that_leave(), noise(), layers=both)
    for layer, at in (("early", 9), ("middle", 14)):  # neither sweep touches the checkpoint of the other's layer
        interrupt(tmp_path / "out", pixels_that_leave(), noise(), at, layers=[layer])
    first, second = sorted((tmp_path / "out" / "checkpoints").glob("*.ckpt"))
    first.rename(first.with_stem(f"{first.stem[:8]}-early"))  # earlier versions named them by layer
    second.rename(second.with_stem(f"{second.stem[:8]}-middle"))
    again = InterruptAt()
    said, _ = run(tmp_path / "out", pixels_that_leave(), noise(), again, layers=both)
    assert again.begun == [9, 0, 14, 0]
    assert said.count("going on at step") == 2
    assert_same_bits(tmp_path / "out", tmp_path / "whole")
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_problems_in_two_checkpoints_are_read_once(tmp_path: Path) -> None:
    interrupt(tmp_path, pixels_that_leave(), noise(), 9)
    interrupt(tmp_path, pixels_that_leave(), noise(), 9, batch_size=2)
    assert sorted(len(keys_in(path)) for path in (tmp_path / "checkpoints").glob("*.ckpt")) == [2, 4]
    run(tmp_path, pixels_that_leave(), noise())
    assert sum(batches(tmp_path)) == 8
    assert not (tmp_path / "checkpoints").exists()


def batches(folder: Path) -> list[int]:
    """Problems of each batch."""
    return [len(load_file(path)) for path in (folder / "recovered").glob("*.safetensors")]


def test_a_checkpoint_of_another_setting_is_left_alone(tmp_path: Path) -> None:
    interrupt(tmp_path, pixels_that_leave(), noise(), 9)
    (path,) = (tmp_path / "checkpoints").glob("*.ckpt")
    run(tmp_path, pixels_by_momentum(), noise())
    assert path.exists()
    again = InterruptAt()
    run(tmp_path, pixels_that_leave(), noise(), again)
    assert again.begun[0] == 9
    assert not path.exists()


def test_a_checkpoint_of_other_problems_is_refused_by_the_fit(tmp_path: Path) -> None:
    interrupt(tmp_path, pixels_that_leave(), noise(), 9)
    state = checkpoint(tmp_path)
    other = pixels_that_leave()
    problems = [Problem("s", "a", "digest", "middle", 0.5, 0, 0)]
    other.load(make_batch(problems, {"a": torch.rand(3, 16, 16)}, GaussianPerturbation()))
    with pytest.raises(ReadoutError, match="checkpoint of other problems"):
        other.on_load_checkpoint(state)


def test_a_checkpoint_weighs_three_times_the_prior(tmp_path: Path) -> None:
    interrupt(tmp_path, dip(), noise(), 9)
    (path,) = (tmp_path / "checkpoints").glob("*.ckpt")
    inversion = dip()
    inversion.prior.initialise(range(4), torch.Size([3, 16, 16]))
    prior = sum(parameter.numel() * 4 for parameter in inversion.prior.parameters())
    assert 3 * prior < path.stat().st_size < 3 * prior + 100_000


# Full disks


@pytest.mark.parametrize("name", ["torch.save", "write_whole"])
def test_a_checkpoint_that_finds_no_room_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    often(monkeypatch, 8)
    full(monkeypatch, f"readout.sweep.checkpoints.{name}")
    said, table = run(tmp_path, dip(), noise())
    assert said.count("no checkpoint: ") == 1
    assert "the disk is full" in said
    assert len(table) == 8


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_the_error_that_pytorch_makes_of_a_full_disk_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = torch.save

    def to_a_full_disk(content: Any, file: Any) -> None:
        with open("/dev/full", "wb") as device:
            save(content, device)

    often(monkeypatch, 8)
    monkeypatch.setattr("readout.sweep.checkpoints.torch.save", to_a_full_disk)
    said, table = run(tmp_path, dip(), noise())
    assert "the disk is full" in said
    assert len(table) == 8


def test_an_interruption_on_a_full_disk_says_what_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full(monkeypatch, "readout.sweep.checkpoints.torch.save")
    said = interrupt(tmp_path, dip(), noise(), 9)
    assert "could not be saved" in said
    assert "the disk is full" in said
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("name", ["parts.write_tables", "results.save_file"])
def test_results_that_find_no_room_leave_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run(tmp_path / "whole", dip(), noise())
    often(monkeypatch, 8)
    with monkeypatch.context() as patch:
        full(patch, f"readout.store.{name}")
        with pytest.raises(ReadoutError, match="the disk is full"):
            run(tmp_path / "out", dip(), noise())
    again = InterruptAt()
    run(tmp_path / "out", dip(), noise(), again)
    assert again.begun == [32, 0]
    assert_same_bits(tmp_path / "out", tmp_path / "whole")


def full(patch: pytest.MonkeyPatch, name: str) -> None:
    """Let a writer find the disk full."""

    def write(*_: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if name.endswith("write_whole"):

        def write(path: Path, _: Any) -> None:  # type: ignore[misc]
            raise ReadoutError(f"{path}: the disk is full")

    patch.setattr(name, write)
