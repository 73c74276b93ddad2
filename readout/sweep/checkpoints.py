"""Checkpoints in the middle of a fit, in ``checkpoints/`` of the output folder."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console

from readout.common.errors import ReadoutError
from readout.common.files import read_whole, remove_unfinished, write_whole
from readout.common.seal import UNSEALED, is_damaged
from readout.common.signals import KEPT, Stop, Stopped
from readout.common.terminal import say
from readout.problems import Problem
from readout.readouts import Readout
from readout.readouts.inversion.resuming import Attempt
from readout.store import ResultStore
from readout.sweep.plan import LayerPlan
from readout.version import __version__

FOLDER = "checkpoints"
"""Folder in the output folder; removed once a sweep is done."""

MOST_SHARE = 1 / 20
"""Largest share of the time spent on writing checkpoints, however slow the disk."""


class Checkpoint(Callback):
    """Checkpoint of a running fit, written atomically every few minutes and when a stop is requested.

    It replaces the one before.

    Args:
        path: Where it is written.
        minutes: Time between checkpoints; None writes one only when a stop is requested.
        stop: Checked after every step.
        console: Prints why there is no checkpoint.
    """

    def __init__(self, path: Path, minutes: float | None, stop: Stop, console: Console) -> None:
        self.path = path
        self.minutes = minutes
        self.stop = stop
        self.console = console
        self._told = False

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
            if problem is not None and not self._told:
                self._told = True
                say(self.console, f"no checkpoint: {problem}")

    def _save(self, trainer: Trainer) -> str | None:
        """Write the checkpoint; return what went wrong, if anything."""
        started = time.monotonic()
        try:
            trainer.save_checkpoint(self.path)
        except ReadoutError as error:
            return str(error).split(";")[0]  # the advice after it can wait
        finally:
            self._wait(time.monotonic() - started)
        return None

    def _wait(self, took: float) -> None:
        self._due = time.monotonic() + max(60 * (self.minutes or 0), took / MOST_SHARE)


class LayerCheckpoint(Checkpoint):
    """Checkpoint of the running batch of a layer, and the groups of a search's current round.

    It holds what the optimisation has changed, without the network's weights: with AdamW three times the size of the
    prior.

    Args:
        folder: Output folder.
        plan: The layer, claimed by this process (:func:`readout.sweep.claims.in_turn`).
        minutes: See :class:`Checkpoint`.
        stop: See :class:`Checkpoint`.
        console: Prints why a checkpoint can't be used.
        limit: Largest batch to resume; None for no limit.
    """

    def __init__(
        self,
        folder: Path,
        plan: LayerPlan,
        minutes: float | None,
        stop: Stop,
        console: Console,
        limit: int | None = None,
    ) -> None:
        super().__init__(folder / FOLDER / f"{plan.name}.ckpt", minutes, stop, console)
        self.limit = limit
        self._round = self.path.with_suffix(".json")
        self._problems = {problem.key: problem for problem in plan.problems}
        self._setting = [limit, len(plan.problems)]
        self._found: dict[str, Any] | None = None
        self._going_on = False
        self._ignored_for: set[str] = set()

    def begun(self, finished: Set[str]) -> list[Problem]:
        """Return the problems of the interrupted batch; empty if there is none to resume.

        Args:
            finished: Keys of finished problems.
        """
        if not self.path.exists():
            return []
        try:
            if is_damaged(self.path):
                return self._ignored("is damaged")
            saved = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            batch, step = saved["batch"], int(saved["inversion"]["step"])
            keys, software, _ = list(map(str, batch["keys"])), dict(batch["versions"]), Attempt(**batch["attempt"])
        except Exception:  # a damaged file can raise anything
            return self._ignored("can't be read")
        if finished >= set(keys):
            self.path.unlink()
            return []
        if not self._problems.keys() >= set(keys) or not finished.isdisjoint(keys):
            return self._ignored("is of problems that are not all left to do")
        if software != versions():
            others = ", ".join(f"{name} {version}" for name, version in software.items())
            return self._ignored(f"was written by other software ({others})")
        if self.limit is not None and len(keys) > self.limit:
            return self._ignored(f"is of {len(keys)} problems side by side, more than batch_size says")
        self._found = batch
        say(self.console, f"going on at step {step:,} with {len(keys)} inversions that were stopped")
        return [self._problems[key] for key in keys]

    def attempt(self, batch: Sequence[Problem]) -> Attempt:
        """Return the progress of a batch that is about to run.

        Args:
            batch: Its problems, which checkpoints name from now on.
        """
        found, self._found = self._found, None
        self._keys = [problem.key for problem in batch]
        self._going_on = found is not None and found["keys"] == self._keys
        self._attempt = Attempt(**found["attempt"]) if found and self._going_on else Attempt.fresh(len(batch))
        return self._attempt

    def run(self, trainer: Trainer, readout: Readout) -> None:
        """Run a readout, from the checkpoint if it is of this batch; ``self`` must be among the callbacks."""
        trainer.strategy.checkpoint_io = WholeFiles()
        path, self._going_on = str(self.path) if self._going_on else None, False
        readout.run(trainer, path)

    def stored(self) -> None:
        """Delete the checkpoint of a batch that is stored."""
        self.path.unlink(missing_ok=True)

    def begin_round(self, batches: Iterable[Sequence[Problem]]) -> None:
        """Record the groups of a search's round, which a resumed search would form differently half-way."""
        groups = [[problem.key for problem in batch] for batch in batches]
        text = json.dumps({"setting": self._setting, "groups": groups, "seal": UNSEALED})
        write_whole(self._round, lambda path: path.write_text(text, encoding="utf-8"))

    def round(self, finished: Set[str]) -> list[list[Problem]]:
        """Return what is left of the recorded round; empty if it was recorded under another setting.

        Args:
            finished: Keys of finished problems.
        """
        try:
            noted = json.loads(read_whole(self._round, "delete it"))
            groups = [[self._problems[key] for key in group if key not in finished] for group in noted["groups"]]
            setting = noted["setting"]
        except (ReadoutError, ValueError, KeyError, TypeError):  # missing, of other problems, or damaged
            return []
        return [group for group in groups if group] if setting == self._setting else []

    def layer_done(self) -> None:
        """Clean up after the last batch."""
        self.stored()
        self._round.unlink(missing_ok=True)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the keys of the batch and the results of its finished runs."""
        checkpoint["batch"] = {"keys": self._keys, "versions": versions(), "attempt": vars(self._attempt).copy()}

    def _ignored(self, why: str) -> list[Problem]:
        if why in self._ignored_for:  # a search checks again before each round
            return []
        self._ignored_for.add(why)
        say(self.console, f"{self.path} {why}, so its batch starts over")
        return []


def batches_left(
    batches: Iterable[Sequence[Problem]], store: ResultStore, checkpoint: LayerCheckpoint
) -> Iterator[list[Problem]]:
    """Yield the interrupted batch, if any, then the unfinished problems of each other batch when it is due."""
    if begun := checkpoint.begun(store.finished()):
        yield begun
    for batch in batches:
        finished = store.finished()
        if left := [problem for problem in batch if problem.key not in finished]:
            yield left


def versions() -> dict[str, str]:
    """Return the versions of the software on which the bits of a resumed batch depend."""
    return {"readout": __version__, "torch": str(torch.__version__), "lightning": str(lightning.__version__)}


def tidy(folder: Path) -> None:
    """Remove unfinished files of killed processes, and the folder of checkpoints if it is empty."""
    remove_unfinished(folder)
    with suppress(OSError):
        (folder / FOLDER).rmdir()


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
