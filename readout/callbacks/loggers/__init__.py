"""Loggers: one run per (model, layer) in each of them, opened or continued by the adapter for its kind."""

import inspect
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from readout.callbacks.loggers.base import LoggerAdapter, RunLabels
from readout.callbacks.loggers.csv import CSVAdapter
from readout.callbacks.loggers.tensorboard import TensorBoardAdapter
from readout.callbacks.loggers.wandb import WandbAdapter
from readout.common.files import user_path

ADAPTERS: dict[type, type[LoggerAdapter[Any]]] = {
    object: LoggerAdapter,
    CSVLogger: CSVAdapter,
    TensorBoardLogger: TensorBoardAdapter,
    WandbLogger: WandbAdapter,
}
"""Logger class → adapter for it and its subclasses."""


def adapter_for(logger: Logger) -> LoggerAdapter[Any]:
    """Return the adapter of a logger whose run is open."""
    return _kind(type(logger))(logger)


def open_run(spec: Mapping[str, Any], labels: RunLabels) -> LoggerAdapter[Any]:
    """Open a run in a logger, or continue it; the output folder replaces the working directory as ``save_dir``.

    Raises:
        ReadoutError: if ``spec`` fixes the id of a W&B run, W&B refuses to start one, or a log can't be continued.
        OSError: if the logger's folder can't be written.
    """
    logger_class = _import(str(spec["class_path"]))
    given = (spec.get("init_args") or {}) | (spec.get("dict_kwargs") or {})
    known = inspect.signature(logger_class.__init__).parameters
    # the parser fills in defaults; keep only what differs from them
    defaults = {name: parameter.default for name, parameter in known.items()}
    arguments = {key: value for key, value in given.items() if value not in (None, defaults.get(key))}
    # a subclass may pass **kwargs on to a base that takes save_dir
    if any("save_dir" in inspect.signature(parent.__init__).parameters for parent in logger_class.__mro__):
        asked = os.path.expanduser(arguments.get("save_dir", "."))  # no path object: it may be a URL
        arguments["save_dir"] = str(labels.output) if asked == "." else asked
    kind = _kind(logger_class)
    adapter = kind(logger_class(**(kind.arguments(known, arguments, labels) | arguments)))
    adapter.begin(labels.facts)
    return adapter


def logging_folder(spec: Mapping[str, Any], output: Path) -> Path:
    """Return the folder that a logger writes to; the output folder replaces the working directory."""
    given = (spec.get("init_args") or {}).get("save_dir") or "."
    return output if str(given) == "." else user_path(given)


def is_disabled(class_path: str) -> bool:
    """Return whether a logger class is W&B's while ``WANDB_MODE`` is ``disabled``.

    Lightning's ``offline: true`` would win over the variable, and write runs that nobody wants.
    """
    return os.environ.get("WANDB_MODE") == "disabled" and _kind(_import(class_path)) is WandbAdapter


def _kind(logger_class: type) -> type[LoggerAdapter[Any]]:
    return next(ADAPTERS[parent] for parent in logger_class.__mro__ if parent in ADAPTERS)


def _import(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
