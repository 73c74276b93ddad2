"""Checkpoints in the middle of a fit, in ``checkpoints/`` of the output folder."""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer

from readout.common.errors import ReadoutError
from readout.common.files import read_whole, remove_unfinished, write_whole
from readout.common.seal import UNSEALED, is_damaged
from readout.common.signals import KEPT, Stop, Stopped
from readout.common.software import versions
from readout.executors import Desk
from readout.problems import Problem
from readout.problems.identity import batch_name
from readout.problems.names import safe_name
from readout.readouts import Readout
from readout.readouts.inversion.resuming import Attempt

FOLDER = "checkpoints"
"""Folder in the output folder; removed once a sweep is done."""

MOST_SHARE = 1 / 20
"""Largest share of the time spent on writing checkpoints, however slow the disk."""


class Checkpoint(Callback):
    """Checkpoint of a running fit, written atomically every few minutes and when a stop is requested.

    It replaces the one before.

    Args:
        path: Where it is written; None for nowhere.
        minutes: Time between checkpoints; None writes one only when a stop is requested.
        stop: Checked after every step.
        say: Prints why there is no checkpoint.
    """

    def __init__(self, path: Path | None, minutes: float | None, stop: Stop, say: Callable[[str], None]) -> None:
        self.path = path
        self.minutes = None if path is None else minutes
        self.stop = stop
        self.say = say
        self.told = False
        """Whether a failure to write one was printed."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and catch signals before Lightning does."""
        self.stop.listen()
        self._wait(0.0)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save when it is time or a stop is requested.

        Raises:
            Stopped: after saving, if a stop is requested.
        """
        taken = getattr(pl_module, "steps_taken", trainer.global_step)
        if trainer.should_stop or taken >= trainer.max_steps:
            return  # the fit is done
        if self.stop.asked is not None:
            step = f"Stopped after step {taken:,} of {trainer.max_steps:,}"
            problem = self._save(trainer)
            if problem is None:
                raise Stopped(f"{step}, which is saved; the same command goes on from there.")
            raise Stopped(f"{step}, which could not be saved ({problem}); {KEPT}")
        if self.minutes is not None and time.monotonic() >= self._due:
            problem = self._save(trainer)
            if problem is not None and not self.told:
                self.told = True
                self.say(f"no checkpoint: {problem}")

    def _save(self, trainer: Trainer) -> str | None:
        """Write the checkpoint; return what went wrong, if anything."""
        started = time.monotonic()
        if self.path is None:
            return "this worker does not see the output folder"
        try:
            trainer.save_checkpoint(self.path)
        except ReadoutError as error:
            return str(error).split(";")[0]  # the advice after it can wait
        finally:
            self._wait(time.monotonic() - started)
        return None

    def _wait(self, took: float) -> None:
        self._due = time.monotonic() + max(60 * (self.minutes or 0), took / MOST_SHARE)


@dataclass(frozen=True)
class Saved:
    """Keys, step and finished runs of the batch in a checkpoint."""

    keys: list[str]
    step: int
    attempt: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Saved":
        """Read a checkpoint without its tensors.

        Raises:
            ValueError: if it can't be used; the message goes on from its path.
        """
        damaged = False
        try:
            damaged = is_damaged(path)
            saved = {} if damaged else torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            batch, step = saved["batch"], int(saved["inversion"]["step"])
            keys, software, _ = list(map(str, batch["keys"])), dict(batch["versions"]), Attempt(**batch["attempt"])
        except Exception as error:  # a damaged file can raise anything
            raise ValueError("is damaged" if damaged else "can't be read") from error
        if software != versions():
            others = ", ".join(f"{name} {version}" for name, version in software.items())
            raise ValueError(f"was written by other software ({others})")
        return cls(keys, step, batch["attempt"])


class BatchCheckpoint(Checkpoint):
    """Checkpoint of a running batch, written where the batch runs.

    It holds what the optimisation has changed, without the network's weights: with AdamW three times the size of the
    prior.

    Args:
        path: Where it is, and will be; None for nowhere, because this process does not see the output folder.
        keys: Keys of the problems of the batch.
        minutes: See :class:`Checkpoint`.
        desk: Where the batch runs.
    """

    def __init__(self, path: Path | None, keys: Sequence[str], minutes: float | None, desk: Desk) -> None:
        super().__init__(path, minutes, desk.stop, desk.say)
        self.keys = list(keys)
        self.attempt = Attempt.fresh(len(self.keys))
        self._going_on = False
        if path is None or not path.exists():
            return
        try:
            saved = Saved.read(path)
        except ValueError:  # the sweep has said why
            return
        if saved.keys == self.keys:
            desk.say(f"going on at step {saved.step:,} with {len(self.keys)} inversions that were stopped")
            self.attempt, self._going_on = Attempt(**saved.attempt), True

    def run(self, trainer: Trainer, readout: Readout) -> None:
        """Run a readout, from the checkpoint if it is of this batch; ``self`` must be among the callbacks."""
        trainer.strategy.checkpoint_io = WholeFiles()
        path, self._going_on = str(self.path) if self._going_on else None, False
        readout.run(trainer, path)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the keys of the batch and the results of its finished runs."""
        checkpoint["batch"] = {"keys": self.keys, "versions": versions(), "attempt": vars(self.attempt).copy()}


class Checkpoints:
    """The checkpoints of a sweep, as the process sees them that hands out its batches.

    Args:
        folder: Output folder.
        setting: Digest of the setting, because another sweep may have been stopped in the same folder.
        limit: Largest batch to go on with; None for no limit.
        say: Prints why a checkpoint can't be used.
    """

    def __init__(self, folder: Path, setting: str, limit: int | None, say: Callable[[str], None]) -> None:
        self.folder = folder / FOLDER
        self.setting = setting
        self.limit = limit
        self.say = say
        self._useless: list[Path] = []

    def path(self, batch: str) -> Path:
        """Return the path of a batch's checkpoint."""
        return self.folder / file_name(self.setting, batch)

    def begun(self, problems: Iterable[Problem], finished: Set[str]) -> list[list[Problem]]:
        """Return the batches that were interrupted.

        Args:
            problems: Problems of the sweep.
            finished: Keys of finished problems.
        """
        paths = sorted(self.folder.glob(file_name(self.setting, "*")))
        known = {problem.key: problem for problem in problems} if paths else {}
        found, taken = [], set(finished if paths else ())
        for path in paths:
            if batch := self._begun(path, known, taken):
                found.append(batch)
                taken.update(problem.key for problem in batch)  # under another batch size it may be in two checkpoints
        return found

    def forget(self, batch: str) -> None:
        """Delete the checkpoint of a batch that is stored."""
        self.path(batch).unlink(missing_ok=True)

    def begin_round(self, layer: str, batches: Iterable[Sequence[Problem]], problems: int) -> None:
        """Record the groups of a search's round, which a resumed search would form differently half-way.

        Args:
            layer: Layer name.
            batches: The groups.
            problems: Number of problems of the layer.
        """
        groups = [[problem.key for problem in batch] for batch in batches]
        text = json.dumps({"setting": [self.limit, problems], "groups": groups, "seal": UNSEALED})
        write_whole(self._round(layer), lambda path: path.write_text(text, encoding="utf-8"))

    def round(self, layer: str, problems: Sequence[Problem], finished: Set[str]) -> list[list[Problem]]:
        """Return what is left of the recorded round; empty if it was recorded under another setting.

        Args:
            layer: Layer name.
            problems: All problems of the layer.
            finished: Keys of finished problems.
        """
        if not self._round(layer).exists():
            return []
        known = {problem.key: problem for problem in problems}
        try:
            noted = json.loads(read_whole(self._round(layer), "delete it"))
            groups = [[known[key] for key in group if key not in finished] for group in noted["groups"]]
            setting = noted["setting"]
        except (ReadoutError, ValueError, KeyError, TypeError):  # of other problems, or damaged
            return []
        return [group for group in groups if group] if setting == [self.limit, len(problems)] else []

    def layer_done(self, layer: str) -> None:
        """Delete the record of a layer's round."""
        self._round(layer).unlink(missing_ok=True)

    def training(self, key: str) -> Path:
        """Return the path of the checkpoint of a training."""
        return self.folder / f"{key}.ckpt"

    def clean(self) -> None:
        """Delete checkpoints that can't be used."""
        for path in self._useless:
            path.unlink(missing_ok=True)

    def _begun(self, path: Path, known: Mapping[str, Problem], finished: Set[str]) -> list[Problem]:
        """Return the problems of one interrupted batch; empty if it is not to be gone on with."""
        try:
            keys = Saved.read(path).keys
        except ValueError as why:
            return self._ignored(path, str(why))
        if finished >= set(keys):
            path.unlink()
            return []
        if known.keys().isdisjoint(keys):  # of layers or inputs that this sweep leaves out
            return []
        if not known.keys() >= set(keys) or not finished.isdisjoint(keys):
            return self._ignored(path, "is of problems that are not all left to do")
        if self.limit is not None and len(keys) > self.limit:
            return self._ignored(path, f"is of {len(keys)} problems side by side, more than batch_size says")
        path.replace(self.path(batch_name(keys)))  # earlier versions named it by its layer
        return [known[key] for key in keys]

    def _ignored(self, path: Path, why: str) -> list[Problem]:
        self._useless.append(path)
        self.say(f"{path} {why}, so its batch starts over")
        return []

    def _round(self, layer: str) -> Path:
        return self.folder / f"{self.setting[:8]}-{safe_name(layer)}.json"


def tidy(folder: Path) -> None:
    """Remove unfinished files of killed processes, and the folder of checkpoints if it is empty."""
    remove_unfinished(folder)
    with suppress(OSError):
        (folder / FOLDER).rmdir()


def file_name(setting: str, batch: str) -> str:
    """Return the file name of a batch's checkpoint."""
    return f"{setting[:8]}-{batch}.ckpt"


class WholeFiles(CheckpointIO):
    """Atomic writes, and reads that run no code from the file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """See ``CheckpointIO``."""

        def write(unfinished: Path) -> None:
            with unfinished.open("w+b") as file:
                torch.save(checkpoint, file)
                file.seek(-2, os.SEEK_END)  # a zip file ends with a comment, and that with its length before it
                file.write(len(UNSEALED).to_bytes(2, "little") + UNSEALED.encode())

        write_whole(Path(path), write)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See ``CheckpointIO``."""
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded

    def remove_checkpoint(self, path: Any) -> None:
        """See ``CheckpointIO``."""
        Path(path).unlink(missing_ok=True)
