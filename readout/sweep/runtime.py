"""Runtime: Trainers and loggers on demand, because a sweep needs a fresh one for every fit."""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer, callbacks
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy

from readout.common.checks import check_seed
from readout.common.errors import ReadoutError

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
