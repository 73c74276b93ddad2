"""Training of a readout at a layer: its weights are kept by key in the output folder, and it resumes if interrupted."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.common.seal import is_damaged
from readout.common.signals import handlers, set_handlers
from readout.common.software import versions
from readout.decoders import Training
from readout.executors import Desk
from readout.problems import Setting
from readout.problems.names import set_aside
from readout.readouts import TrainedReadout
from readout.sweep.checkpoints import Checkpoint, WholeFiles
from readout.sweep.probe import undisturbed
from readout.sweep.reporter import Reporter
from readout.sweep.runtime import Runtime

FOLDER = "trained"
"""Folder of trained weights in an output folder."""

REHEARSED = 20
"""Most steps of a rehearsal."""

REHEARSED_SECONDS = 2.0


def weights_path(readout: TrainedReadout, setting: Setting, layer: str, folder: Path) -> Path:
    """Return where an output folder keeps the weights of a layer."""
    return folder / FOLDER / f"{readout.weights_key(setting, layer)}.safetensors"


def rehearse(readout: TrainedReadout, layer: str, runtime: Runtime) -> tuple[int, float]:
    """Make a readout ready for a probe of a layer by a few steps of its training.

    Args:
        readout: The readout.
        layer: Layer name.
        runtime: Makes the Trainer.

    Returns:
        Training steps left, and seconds per step.
    """
    training, pace = readout.make_training(layer), _Pace()
    runtime.make_bare_trainer(pace, max_steps=min(REHEARSED, training.steps)).fit(training, range(REHEARSED))
    readout.use(layer, training.weights())
    return training.steps, undisturbed(pace.times)


def train(
    training: Training, layer: str, checkpoint: "TrainingCheckpoint", runtime: Runtime, desk: Desk, job: str
) -> dict[str, Tensor]:
    """Train a readout at a layer and return its weights.

    Args:
        training: The training, not begun.
        layer: Layer name.
        checkpoint: Writes, and finds, its state.
        runtime: Makes the Trainer.
        desk: Where it runs.
        job: Name under which it reports.

    Raises:
        ReadoutError: if it ended before its last step.
    """
    reporter = Reporter(desk, job)
    run_training(training, checkpoint, runtime, desk.loggers, reporter)
    if reporter.steps < training.steps:
        raise ReadoutError(
            f"The training at layer {layer!r} ended before its last step; remove whatever ends fits early (max_time, "
            "max_epochs, limit_train_batches)."
        )
    return training.weights()


def run_training(
    training: Training, checkpoint: "TrainingCheckpoint", runtime: Runtime, loggers: Sequence[Logger], shown: Callback
) -> None:
    """Fit a training, from its checkpoint if there is one.

    Args:
        training: The training.
        checkpoint: Writes, and finds, its state.
        runtime: Makes the Trainer.
        loggers: Where it logs.
        shown: Shows its progress, or reports it.
    """
    bar = isinstance(shown, ProgressBar)
    trainer = runtime.make_bare_trainer(
        shown, checkpoint, loggers=loggers, max_steps=training.steps, enable_progress_bar=bar
    )
    trainer.strategy.checkpoint_io = WholeFiles()
    trainer.fit(training, range(training.steps), ckpt_path=checkpoint.usable())


def set_aside_broken(folder: Path) -> list[str]:
    """Rename damaged files of weights; return one sentence per file."""
    damaged = [path for path in sorted((folder / FOLDER).glob("*.safetensors")) if is_damaged(path)]
    return [set_aside(path, "the readout is trained again") for path in damaged]


class TrainingCheckpoint(Checkpoint):
    """Checkpoint of a training, for the same software only."""

    def usable(self) -> str | None:
        """Return the path to go on from, if there is a checkpoint that can be used."""
        if self.path is None or not self.path.exists():
            return None
        try:
            if is_damaged(self.path):
                raise ValueError("is damaged")
            saved = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            if saved["versions"] != versions():
                raise ValueError("was written by other software")
        except Exception as error:  # a damaged file can raise anything
            why = str(error) if isinstance(error, ValueError) else "can't be read"
            self.say(f"{self.path} {why}, so its training starts over")
            return None
        self.say(f"going on at step {saved['steps']:,} of a training that was stopped")
        return str(self.path)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """See :class:`Checkpoint`; a training that can't go on from a checkpoint gets none."""
        assert isinstance(pl_module, Training)
        if pl_module.resumable:
            super().on_train_batch_end(trainer, pl_module)
        elif not trainer.should_stop:
            self.stop.check("Stopped in the middle of a training, which will start over")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the number of steps, and the versions of the software."""
        checkpoint["steps"] = getattr(pl_module, "steps_taken", trainer.global_step)
        checkpoint["versions"] = versions()


class _Pace(Callback):
    """Timer of the first steps of a training."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._handlers = handlers()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        set_handlers(self._handlers)  # Lightning's own would end a probe with exit code 0

    def on_train_batch_start(self, *_: Any) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
        self.times.append(time.perf_counter() - self._started)
        trainer.should_stop |= len(self.times) > 1 and sum(self.times) > REHEARSED_SECONDS
