"""Runtime: Trainers and loggers on demand, because a sweep needs a fresh one for every fit."""

import contextlib
import inspect
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger, WandbLogger

from readout.errors import ReadoutError

QUIET = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
"""Trainer defaults for fits that last seconds and come by the hundred; a configuration may change them."""

WANDB_DATA_DIR = os.environ.get("WANDB_DATA_DIR")
"""Where the user wants W&B to stage files, if anywhere in particular."""


@dataclass(frozen=True)
class Runtime:
    """What a sweep borrows from whoever starts it.

    Args:
        trainer: Arguments for every Trainer, its callbacks among them; no logger.
        loggers: Logger classes as ``{"class_path": …, "init_args": {…}}``.
        config: The whole configuration as plain data, kept with the results and logged.
        seed: Seed that all random numbers derive from.
    """

    trainer: Mapping[str, Any]
    loggers: Sequence[Mapping[str, Any]] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def make_trainer(self, loggers: Sequence[Logger], *extra: Callback) -> Trainer:
        """A Trainer with the configured callbacks and some more."""
        configured = self.trainer.get("callbacks") or []
        callbacks = [*(configured if isinstance(configured, list) else [configured]), *extra]
        return self._trainer(logger=list(loggers) or False, callbacks=callbacks)

    def make_bare_trainer(self, *callbacks: Callback, **overrides: Any) -> Trainer:
        """A Trainer with these callbacks only, and no logger."""
        return self._trainer(logger=False, callbacks=list(callbacks), **overrides)

    def make_loggers(self, model: str, layer: str, group: str, folder: Path) -> list[Logger]:
        """One run of every configured logger for a (model, layer), grouped by sweep.

        A logger whose ``save_dir`` is not set, or is the working directory, writes below ``folder``.

        Args:
            model: Name of the model.
            layer: Name of the layer.
            group: What groups the runs of one sweep.
            folder: Output folder of the sweep.
        """
        made = []
        for spec in self.loggers:
            logger_class = _import(str(spec["class_path"]))
            known = inspect.signature(logger_class.__init__).parameters
            given = (spec.get("init_args") or {}) | (spec.get("dict_kwargs") or {})
            # the parser fills in defaults; only what differs was asked for
            defaults = {name: parameter.default for name, parameter in known.items()}
            arguments = {key: value for key, value in given.items() if value not in (None, defaults.get(key))}
            if arguments.get("save_dir", ".") == ".":
                arguments["save_dir"] = str(folder)
            if issubclass(logger_class, WandbLogger):
                import wandb

                # offline, pictures in tables wait here for their upload: keep them with the run
                os.environ["WANDB_DATA_DIR"] = WANDB_DATA_DIR or str(folder.resolve() / "wandb")
                settings = wandb.Settings(silent=True)  # a run a layer would drown the progress display
                names = {"name": f"{model} {layer}", "group": group, "job_type": "layer", "settings": settings}
                arguments = names | arguments
            elif "version" in known:
                arguments = {"name": "logs", "version": layer} | arguments
            logger: Logger = logger_class(**arguments)
            if isinstance(logger, WandbLogger):
                logger.experiment.define_metric("recovery/*", step_metric="optimisation_step")
            logger.log_hyperparams({**self.config, "model_name": model, "layer": layer, "sweep_group": group})
            made.append(logger)
        return made

    def _trainer(self, **overrides: Any) -> Trainer:
        with explained_misconfiguration():
            return Trainer(**{**QUIET, **self.trainer, **overrides})


@contextlib.contextmanager
def explained_misconfiguration() -> Iterator[None]:
    """Turn what Lightning refuses (an accelerator that is not there, say) into a sentence for the user."""
    try:
        yield
    except (MisconfigurationException, ModuleNotFoundError, ValueError) as error:
        raise ReadoutError(f"The trainer section can't be used here: {str(error).strip()}") from error


def finish(loggers: Sequence[Logger]) -> None:
    """Close runs, so that the next layer does not silently write into a live one."""
    for logger in loggers:
        logger.finalize("success")
        if isinstance(logger, WandbLogger):
            import wandb

            wandb.finish()


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide what Lightning says at each fit; a sweep has hundreds, and shows progress of its own."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            # the data of a fit are its step numbers, of which none matters
            warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _import(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
