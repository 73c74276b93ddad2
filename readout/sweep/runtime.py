"""Runtime: makes the Trainer of each fit; a sweep needs a fresh one every time."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer, callbacks
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy

from readout.common.checks import check_seed
from readout.common.errors import ReadoutError
from readout.executors import Executor

QUIET = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
"""Trainer defaults for hundreds of fits that last seconds each; a configuration may change them."""

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
"""Allowed values, default first, of Trainer arguments that would end a fit early, extend it, or move it to other
processes."""

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
    if hasattr(callbacks, name)  # some are missing in the oldest supported Lightning
)
"""Lightning's callbacks that end or change an optimisation."""

LOGGING = (callbacks.DeviceStatsMonitor, callbacks.LearningRateMonitor)
"""Lightning's callbacks that refuse to run without a logger."""


@dataclass(frozen=True)
class Runtime:
    """Everything a sweep needs to make Trainers and loggers.

    Args:
        trainer: Arguments for every Trainer, callbacks included, logger excluded.
        loggers: Logger classes as ``{"class_path": …, "init_args": {…}}``.
        config: The whole configuration as plain data, kept with the results and logged.
        seed: Seed of all random numbers.
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

    def on(self, executor: Executor) -> "Runtime":
        """Return a runtime for the workers of an executor, each of which has one device.

        Raises:
            ReadoutError: if a callback needs a logger while a fit runs, or devices are chosen.
        """
        if not executor.elsewhere:
            return self
        for callback in self.callbacks:
            if isinstance(callback, LOGGING):
                raise ReadoutError(
                    f"trainer.callbacks holds {type(callback).__name__}, which writes to a logger in each fit, and "
                    f"the workers of {type(executor).__name__} have none; take it out, or leave out sweep.executor."
                )
        if self.trainer.get("devices") not in (None, "auto", 1, -1, "1", "-1"):
            raise ReadoutError(
                f"trainer.devices is {self.trainer['devices']!r}, but every worker has one device; leave it out."
            )
        return replace(self, trainer={**self.trainer, "devices": 1})

    def make_trainer(self, loggers: Sequence[Logger], *extra: Callback) -> Trainer:
        """Return a Trainer with the configured callbacks and ``extra``.

        Raises:
            ReadoutError: if Lightning refuses its settings.
        """
        return self._trainer(logger=list(loggers) or False, callbacks=[*self.callbacks, *extra])

    def make_bare_trainer(self, *callbacks: Callback, loggers: Sequence[Logger] = (), **overrides: Any) -> Trainer:
        """Return a Trainer with only these callbacks and loggers.

        Raises:
            ReadoutError: if Lightning refuses its settings.
        """
        return self._trainer(logger=list(loggers) or False, callbacks=list(callbacks), **overrides)

    @property
    def callbacks(self) -> list[Callback]:
        """The configured callbacks."""
        configured = self.trainer.get("callbacks") or []
        return list(configured) if isinstance(configured, list) else [configured]

    def _trainer(self, **overrides: Any) -> Trainer:
        # tensors made in inference mode could not be used in what follows a pass
        settings = {**QUIET, **self.trainer, "inference_mode": False, **overrides}
        with explained_misconfiguration():
            return Trainer(**{**settings, "plugins": one_process(settings.get("plugins"))})


def check_trainer(settings: Mapping[str, Any]) -> None:
    """Refuse Trainer arguments under which a fit would not be ``max_steps`` steps in this process.

    Args:
        settings: Arguments of the Trainer.

    Raises:
        ReadoutError: if there is one.
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


@contextlib.contextmanager
def explained_misconfiguration() -> Iterator[None]:
    """Turn Lightning's refusals (a missing accelerator, say) into one sentence."""
    try:
        yield
    except (MisconfigurationException, ModuleNotFoundError, TypeError, ValueError) as error:
        raise ReadoutError(f"The trainer section can't be used here: {str(error).strip()}") from error


def one_process(plugins: Any) -> list[Any]:
    """Add the plugin that keeps a fit in this process, however many tasks a cluster has started.

    Args:
        plugins: The user's: None, one or several.
    """
    given = plugins if isinstance(plugins, list) else [] if plugins is None else [plugins]
    return given if any(isinstance(one, ClusterEnvironment) for one in given) else [*given, LightningEnvironment()]


@contextlib.contextmanager
def _outside_slurm() -> Iterator[None]:
    """Hide the Slurm job from Lightning, which would load any ``hpc_ckpt_*.ckpt`` in the working directory.

    Calling the job interactive is the documented way to do so.
    """
    name = os.environ.get("SLURM_JOB_NAME")
    os.environ["SLURM_JOB_NAME"] = "interactive"
    try:
        yield
    finally:
        del os.environ["SLURM_JOB_NAME"]
        os.environ.update({} if name is None else {"SLURM_JOB_NAME": name})


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's messages at each fit; a sweep has hundreds, and its own progress display."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")
            # searches and regressions take steps without an optimiser
            warnings.filterwarnings("ignore", message=".*configure_optimizers` returned `None`.*")
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
            # the data of a fit are step numbers, whose order does not matter
            warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
            warnings.filterwarnings("ignore", message=".*The `srun` command is available.*")
            with _outside_slurm():
                yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
