"""Runtime: Trainers and loggers on demand, because a sweep needs a fresh one for every fit."""

import contextlib
import errno
import inspect
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer, callbacks
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.strategies import Strategy

from readout.checks import check_seed
from readout.errors import ReadoutError, reason
from readout.files import user_path, write_first

QUIET = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
"""Trainer defaults for fits that last seconds and come by the hundred; a configuration may change them."""

FIXED: Mapping[str, tuple[Any, ...]] = {
    "accumulate_grad_batches": (1,),
    "fast_dev_run": (False,),
    "limit_train_batches": (None, 1.0),
    "max_time": (None,),
    "min_epochs": (None,),
    "min_steps": (None,),
    "num_nodes": (1,),
    "overfit_batches": (0.0,),
    "reload_dataloaders_every_n_epochs": (0,),
    "strategy": ("auto", "single_device", "ddp"),
    "val_check_interval": (None, 1.0),
}
"""Arguments of the Trainer that would end a fit early, go on after its last step, or move it to other processes; and
what they may be, the default first."""

STEERING = tuple(
    vars(callbacks)[name]
    for name in (
        "BaseFinetuning",
        "BatchSizeFinder",
        "EarlyStopping",
        "GradientAccumulationScheduler",
        "LearningRateFinder",
        "ModelPruning",
        "StochasticWeightAveraging",
        "Timer",
        "WeightAveraging",
    )
    if hasattr(callbacks, name)  # some are younger than the oldest Lightning that is supported
)
"""Lightning's callbacks that end or change an optimisation."""

LOGGING = (callbacks.DeviceStatsMonitor, callbacks.LearningRateMonitor)
"""Lightning's callbacks that refuse to run without a logger."""

RUN = "run"
"""Of a folder with the files of a logger: the file with the id of the run that has it."""

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

    def __post_init__(self) -> None:
        check_seed("seed", self.seed)
        check_trainer(self.trainer)
        for callback in self.callbacks:
            _check_callback(callback, bool(self.loggers))

    def make_trainer(self, loggers: Sequence[Logger], *extra: Callback) -> Trainer:
        """A Trainer with the configured callbacks and some more.

        Raises:
            ReadoutError: if Lightning refuses its settings.
        """
        return self._trainer(logger=list(loggers) or False, callbacks=[*self.callbacks, *extra])

    def make_bare_trainer(self, *callbacks: Callback, **overrides: Any) -> Trainer:
        """A Trainer with these callbacks only, and no logger.

        Raises:
            ReadoutError: if Lightning refuses its settings.
        """
        return self._trainer(logger=False, callbacks=list(callbacks), **overrides)

    def make_logger(self, spec: Mapping[str, Any], run: "RunLabels", folder: Path) -> Logger:
        """A run in a logger.

        A logger whose ``save_dir`` is not set, or is the working directory, writes below ``folder``.

        Args:
            spec: One of :attr:`loggers`.
            run: What the run is.
            folder: Output folder of the sweep.

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
            return _wandb_run(logger_class, arguments, run, folder, self.config)
        if "version" in known:
            arguments = {"name": "logs"} | arguments
            arguments.setdefault("version", _own_folder(f"{arguments['save_dir']}/{arguments['name']}", run))
        if issubclass(logger_class, TensorBoardLogger):
            # hyperparameters are logged with the summary, or TensorBoard does not list them
            logger: Logger = logger_class(**({"default_hp_metric": False} | arguments))
        elif issubclass(logger_class, CSVLogger):
            logger = _carried_on(logger_class(**arguments))
            logger.log_hyperparams({**run.facts, "configuration": dict(self.config)})
        else:
            logger = logger_class(**arguments)
            logger.log_hyperparams({**run.facts, "configuration": dict(self.config)})
        return logger

    @property
    def callbacks(self) -> list[Callback]:
        """The configured callbacks."""
        configured = self.trainer.get("callbacks") or []
        return list(configured) if isinstance(configured, list) else [configured]

    def _trainer(self, **overrides: Any) -> Trainer:
        settings = {**QUIET, **self.trainer, **overrides}
        with explained_misconfiguration():
            return Trainer(**{**settings, "plugins": one_process(settings.get("plugins"))})


def check_trainer(settings: Mapping[str, Any]) -> None:
    """Refuse settings of the Trainer under which a fit would not be what a sweep takes it for.

    Args:
        settings: Arguments of the Trainer.

    Raises:
        ReadoutError: if a fit would end before or after ``max_steps`` steps, or not run in this process.
    """
    for name, allowed in FIXED.items():
        value = settings.get(name, allowed[0])
        if value not in allowed and not isinstance(value, Strategy):
            raise ReadoutError(
                f"trainer.{name} is {value!r}, but a fit of a sweep is trainer.max_steps steps on one device, no more "
                "and no fewer; leave it out."
            )
    if settings.get("max_epochs") == 0:
        raise ReadoutError("trainer.max_epochs is 0, so nothing would be optimised; leave it out.")


def _check_callback(callback: Any, logging: bool) -> None:
    name = type(callback).__name__
    if not isinstance(callback, Callback):
        raise ReadoutError(f"trainer.callbacks holds {callback!r}; give objects of Lightning's class Callback.")
    if isinstance(callback, STEERING):
        raise ReadoutError(
            f"trainer.callbacks holds {name}, which ends or changes an optimisation; a fit of a sweep is "
            "trainer.max_steps steps of the model's own optimiser. Take it out."
        )
    if isinstance(callback, LOGGING) and not logging:
        raise ReadoutError(
            f"trainer.callbacks holds {name}, which writes to a logger, and there is none; add `--config csv.yaml`, or "
            "take it out."
        )


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


@contextlib.contextmanager
def explained_misconfiguration() -> Iterator[None]:
    """Turn what Lightning refuses (an accelerator that is not there, say) into a sentence for the user."""
    try:
        yield
    except (MisconfigurationException, ModuleNotFoundError, TypeError, ValueError) as error:
        raise ReadoutError(f"The trainer section can't be used here: {str(error).strip()}") from error


def one_process(plugins: Any) -> list[Any]:
    """The plugins of a Trainer, and one that keeps the fit in this process, however many tasks a cluster has started.

    Args:
        plugins: As the user gave them: None, one or several.
    """
    given = plugins if isinstance(plugins, list) else [] if plugins is None else [plugins]
    return given if any(isinstance(one, ClusterEnvironment) for one in given) else [*given, LightningEnvironment()]


@contextlib.contextmanager
def _outside_slurm() -> Iterator[None]:
    """Keep Lightning from taking the process for one task of a Slurm job.

    It would load any ``hpc_ckpt_*.ckpt`` out of the working directory. Calling the job interactive is the documented
    way to prevent that.
    """
    name = os.environ.get("SLURM_JOB_NAME")
    os.environ["SLURM_JOB_NAME"] = "interactive"
    try:
        yield
    finally:
        del os.environ["SLURM_JOB_NAME"]
        os.environ.update({} if name is None else {"SLURM_JOB_NAME": name})


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
            warnings.filterwarnings("ignore", message=".*The `srun` command is available.*")
            with _outside_slurm():
                yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _import(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)
