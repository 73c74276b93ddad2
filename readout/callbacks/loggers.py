"""Loggers: one run in each for every (model, layer) of a sweep, opened anew or continued."""

import errno
import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from readout.common.errors import ReadoutError, reason
from readout.common.files import user_path, write_first

RUN = "run"
"""Of a folder with the files of a logger: the file with the id of the run that has it."""

WANDB_DATA_DIR = os.environ.get("WANDB_DATA_DIR")
"""Where the user wants W&B to stage files, if anywhere in particular."""


@dataclass(frozen=True)
class RunLabels:
    """What a run is called in a logger, and what it is searched by."""

    id: str
    """The same whenever the same thing is logged again from the same output folder."""
    name: str
    group: str
    """What groups the runs of one sweep."""
    kind: str
    """``layer`` or ``sweep``."""
    folder: str
    """Where loggers that write files put it, below ``logs``, unless another run is there."""
    tags: Sequence[str]
    facts: Mapping[str, Any]
    """One plain value a key."""


def make_logger(spec: Mapping[str, Any], run: RunLabels, folder: Path, config: Mapping[str, Any]) -> Logger:
    """A run in a logger.

    A logger whose ``save_dir`` is not set, or is the working directory, writes below ``folder``.

    Args:
        spec: One of :attr:`readout.sweep.runtime.Runtime.loggers`.
        run: What the run is.
        folder: Output folder of the sweep.
        config: The whole configuration, logged with the run.

    Raises:
        ReadoutError: if a logger was given the id of one run, or W&B refuses to begin one.
        OSError: if its folder can't be written.
    """
    logger_class = _import(str(spec["class_path"]))
    known = inspect.signature(logger_class.__init__).parameters
    given = (spec.get("init_args") or {}) | (spec.get("dict_kwargs") or {})
    # the parser fills in defaults; only what differs was asked for
    defaults = {name: parameter.default for name, parameter in known.items()}
    arguments = {key: value for key, value in given.items() if value not in (None, defaults.get(key))}
    asked = os.path.expanduser(arguments.get("save_dir", "."))  # no path object: it may be a URL
    arguments["save_dir"] = str(folder) if asked == "." else asked
    if issubclass(logger_class, WandbLogger):
        return _wandb_run(logger_class, arguments, run, folder, config)
    if "version" in known:
        arguments = {"name": "logs"} | arguments
        arguments.setdefault("version", _own_folder(f"{arguments['save_dir']}/{arguments['name']}", run))
    if issubclass(logger_class, TensorBoardLogger):
        # hyperparameters are logged with the summary, or TensorBoard does not list them
        logger: Logger = logger_class(**({"default_hp_metric": False} | arguments))
    elif issubclass(logger_class, CSVLogger):
        logger = _carried_on(logger_class(**arguments))
        logger.log_hyperparams({**run.facts, "configuration": dict(config)})
    else:
        logger = logger_class(**arguments)
        logger.log_hyperparams({**run.facts, "configuration": dict(config)})
    return logger


def logging_folder(spec: Mapping[str, Any], folder: Path) -> Path:
    """Where a logger writes.

    Args:
        spec: The logger.
        folder: Output folder of the sweep, which stands for the working directory too.
    """
    given = (spec.get("init_args") or {}).get("save_dir") or "."
    return folder if str(given) == "." else user_path(given)


def is_disabled(logger: str) -> bool:
    """Whether a logger, named by its class path, is W&B's and ``WANDB_MODE`` is ``disabled``.

    Lightning's ``offline: true`` would win over it, and write runs that nobody wants.
    """
    return os.environ.get("WANDB_MODE") == "disabled" and issubclass(_import(logger), WandbLogger)


def _wandb_run(
    logger_class: type[WandbLogger],
    arguments: dict[str, Any],
    run: RunLabels,
    folder: Path,
    config: Mapping[str, Any],
) -> WandbLogger:
    import wandb

    if "id" in arguments or "version" in arguments:
        raise ReadoutError("A sweep has a W&B run a layer; take `id` and `version` out of trainer.logger.")
    # offline, pictures in tables wait here for their upload: keep them with the run
    os.environ["WANDB_DATA_DIR"] = WANDB_DATA_DIR or str(folder.resolve() / "wandb")
    labels: dict[str, Any] = {
        "id": run.id,
        "resume": "allow",
        "name": run.name,
        "group": run.group,
        "job_type": run.kind,
        "tags": list(run.tags),
        "settings": wandb.Settings(silent=True),  # a run a layer would drown the progress display
    }
    logger = logger_class(**(labels | arguments))
    if "anonymous" not in arguments:  # Lightning passes on that it is None, and W&B warns that nobody should
        vars(logger).get("_wandb_init", {}).pop("anonymous", None)
    _check_writable(Path(arguments["save_dir"]))
    try:
        _ = logger.experiment
    except wandb.errors.Error as error:
        raise ReadoutError(
            f"W&B can't begin a run ({reason(error)}); run `wandb login`, or leave out "
            "`--trainer.logger.offline false`: offline, runs stay in the output folder until `wandb sync` sends them."
        ) from error
    logger.experiment.define_metric("recovery/*", step_metric="optimisation_step")
    logger.experiment.define_metric("size_by_layer/*", step_metric="layer_index")
    logger.log_hyperparams({**run.facts, "configuration": dict(config)})
    return logger


def _own_folder(parent: str, run: RunLabels) -> str:
    """The folder of a run: its plain name goes to the first that asks, whose id is kept there."""
    other = f"{run.folder}-{run.id[:6]}"
    if "://" in parent:  # not of this file system, so nothing is kept there
        return other
    return run.folder if write_first(Path(parent) / run.folder / RUN, run.id) == run.id else other


def _check_writable(folder: Path) -> None:
    """W&B would silently choose a folder for temporary files instead."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _carried_on(logger: CSVLogger) -> CSVLogger:
    """The logger, which on its own would begin by deleting the ``metrics.csv`` that is there."""
    path = Path(logger.log_dir) / "metrics.csv"
    try:
        rows = pd.read_csv(path).astype({"step": int}).to_dict("records") if path.is_file() else []
    except (KeyError, ValueError) as error:
        raise ReadoutError(f"{str(path)!r} can't be read; move it away and run the same command again.") from error
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
        _ = logger.experiment
    for row in rows:
        logger.log_metrics({str(k): v for k, v in row.items() if k != "step" and pd.notna(v)}, step=int(row["step"]))
    logger.save()
    return logger


def finish(logger: Logger, failed: bool = False) -> None:
    """Close a run, so that the next layer does not silently write into a live one.

    Args:
        logger: Has the run.
        failed: Whether something ended the run before its time; W&B then says so until it is gone on with.
    """
    logger.finalize("failed" if failed else "success")
    if isinstance(logger, WandbLogger):
        import wandb

        wandb.finish(exit_code=int(failed))


def _import(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
