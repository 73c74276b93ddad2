"""Training of a readout at a layer: its weights are kept by key in the output folder, and it resumes if interrupted."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor

from readout.callbacks.dashboard import Dashboard
from readout.common.errors import ReadoutError
from readout.common.files import write_whole
from readout.common.seal import is_damaged
from readout.common.signals import Stop, handlers, set_handlers
from readout.common.terminal import say
from readout.decoders import Training
from readout.problems import Setting
from readout.problems.names import set_aside
from readout.readouts import TrainedReadout
from readout.store import save_file
from readout.sweep.checkpoints import FOLDER as CHECKPOINTS
from readout.sweep.checkpoints import Checkpoint, WholeFiles, versions
from readout.sweep.probe import undisturbed
from readout.sweep.progress import SweepProgress
from readout.sweep.runtime import Runtime

FOLDER = "trained"
"""Folder of trained weights in an output folder."""

REHEARSED = 20
"""Most steps of a rehearsal."""

REHEARSED_SECONDS = 2.0


def weights_path(readout: TrainedReadout, setting: Setting, layer: str, folder: Path) -> Path:
    """Return where an output folder keeps the weights of a layer."""
    return folder / FOLDER / f"{readout.weights_key(setting, layer)}.safetensors"


def rehearse(readout: TrainedReadout, layer: str, kept: Path, runtime: Runtime) -> tuple[int, float]:
    """Make a readout ready for a probe of a layer, with kept weights or those after a few steps.

    Args:
        readout: The readout.
        layer: Layer name.
        kept: From :func:`weights_path`.
        runtime: Makes the Trainer.

    Returns:
        Training steps left, and seconds per step.
    """
    if use_kept(readout, layer, kept):
        return 0, 0.0
    training, pace = readout.make_training(layer), _Pace()
    runtime.make_bare_trainer(pace, max_steps=min(REHEARSED, training.steps)).fit(training, range(REHEARSED))
    readout.use(layer, training.weights())
    return training.steps, undisturbed(pace.times)


def train(
    readout: TrainedReadout,
    layer: str,
    kept: Path,
    runtime: Runtime,
    dashboard: Dashboard,
    progress: SweepProgress,
    minutes: float | None,
    stop: Stop,
    console: Console,
) -> None:
    """Train a readout at a layer, unless its weights are kept.

    Args:
        readout: The readout.
        layer: Layer name.
        kept: From :func:`weights_path`.
        runtime: Makes the Trainer.
        dashboard: Holds a run of the training in each logger.
        progress: Shows its steps.
        minutes: See :class:`readout.sweep.checkpoints.Checkpoint`.
        stop: See :class:`readout.sweep.checkpoints.Checkpoint`.
        console: See :class:`readout.sweep.checkpoints.Checkpoint`.

    Raises:
        ReadoutError: if it ended before its last step.
    """
    if use_kept(readout, layer, kept):
        return
    training = readout.make_training(layer)
    path = kept.parents[1] / CHECKPOINTS / f"{kept.stem}.ckpt"
    checkpoint = TrainingCheckpoint(path, minutes, stop, console)
    progress.start_training(training.steps)
    with dashboard.training(layer, kept.stem) as loggers:
        shown = _Shown(progress, training.steps)
        run_training(training, checkpoint, runtime, loggers, shown)
    if shown.steps < training.steps:
        raise ReadoutError(
            f"The training at layer {layer!r} ended before its last step; remove whatever ends fits early (max_time, "
            "max_epochs, limit_train_batches)."
        )
    weights = training.weights()
    write_whole(kept, lambda path: save_file(weights, path))
    checkpoint.path.unlink(missing_ok=True)
    progress.training_done()
    readout.use(layer, weights)


def run_training(
    training: Training, checkpoint: "TrainingCheckpoint", runtime: Runtime, loggers: Sequence[Logger], shown: Callback
) -> None:
    """Fit a training, from its checkpoint if there is one.

    Args:
        training: The training.
        checkpoint: Writes, and finds, its state.
        runtime: Makes the Trainer.
        loggers: Where it logs.
        shown: Shows its progress.
    """
    bar = isinstance(shown, ProgressBar)
    trainer = runtime.make_bare_trainer(
        shown, checkpoint, loggers=loggers, max_steps=training.steps, enable_progress_bar=bar
    )
    trainer.strategy.checkpoint_io = WholeFiles()
    trainer.fit(training, range(training.steps), ckpt_path=checkpoint.usable())


def use_kept(readout: TrainedReadout, layer: str, kept: Path) -> bool:
    """Let a readout take the weights that a folder keeps; return whether there are any."""
    if not kept.exists():
        return False
    readout.use(layer, load_file(kept))
    return True


def set_aside_broken(folder: Path) -> list[str]:
    """Rename damaged files of weights; return one sentence per file."""
    damaged = [path for path in sorted((folder / FOLDER).glob("*.safetensors")) if is_damaged(path)]
    return [set_aside(path, "the readout is trained again") for path in damaged]


class TrainingCheckpoint(Checkpoint):
    """Checkpoint of a training, for the same software only."""

    def usable(self) -> str | None:
        """Return the path to go on from, if there is a checkpoint that can be used."""
        if not self.path.exists():
            return None
        try:
            if is_damaged(self.path):
                raise ValueError("is damaged")
            saved = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            if saved["versions"] != versions():
                raise ValueError("was written by other software")
        except Exception as error:  # a damaged file can raise anything
            why = str(error) if isinstance(error, ValueError) else "can't be read"
            say(self.console, f"{self.path} {why}, so its training starts over")
            return None
        say(self.console, f"going on at step {saved['steps']:,} of a training that was stopped")
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


class _Shown(Callback):
    """Counts the steps of a training, and shows them."""

    def __init__(self, progress: SweepProgress, total: int) -> None:
        self.progress = progress
        self.total = total
        self.steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.steps = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.steps += 1
        loss = outputs.get("loss") if isinstance(outputs, dict) else None
        self.progress.training_step(self.steps, self.total, loss if isinstance(loss, Tensor) else None)


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
