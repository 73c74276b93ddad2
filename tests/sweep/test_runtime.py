from typing import Any

import pytest
from lightning.pytorch import Callback, callbacks
from lightning.pytorch.strategies import SingleDeviceStrategy

from readout.callbacks.loggers import is_disabled
from readout.common.errors import ReadoutError
from readout.sweep.runtime import Runtime


@pytest.mark.parametrize(
    "setting",
    [
        {"accumulate_grad_batches": 2},
        {"fast_dev_run": 2},
        {"limit_train_batches": 3},
        {"max_epochs": 0},
        {"max_time": "00:00:00:01"},
        {"min_steps": 3},
        {"num_nodes": 2},
        {"overfit_batches": 1},
        {"strategy": "ddp_spawn"},
        {"val_check_interval": 1000},
    ],
)
def test_a_trainer_whose_fits_are_not_max_steps_steps_is_refused(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(ReadoutError, match=rf"^trainer\.{name} is .*; leave it out\.$"):
        Runtime(trainer=setting)


def test_what_is_harmless_is_left_alone() -> None:
    Runtime(trainer={"max_epochs": 3, "strategy": SingleDeviceStrategy("cpu"), "limit_train_batches": None})
    Runtime(trainer={"callbacks": [Callback(), callbacks.LambdaCallback()]})


@pytest.mark.parametrize(
    "callback",
    [
        callbacks.EarlyStopping("loss"),
        callbacks.StochasticWeightAveraging(0.1),
        callbacks.GradientAccumulationScheduler({0: 2}),
        callbacks.Timer("00:00:00:01"),
        callbacks.LearningRateFinder(),
        callbacks.BackboneFinetuning(),
    ],
)
def test_callbacks_that_steer_a_fit_are_refused(callback: Callback) -> None:
    with pytest.raises(ReadoutError, match=f"holds {type(callback).__name__}, which ends or changes an optimisation"):
        Runtime(trainer={"callbacks": [callback]})


def test_a_callback_that_needs_a_logger_is_refused_without_one() -> None:
    monitor = callbacks.LearningRateMonitor()
    with pytest.raises(ReadoutError, match=r"LearningRateMonitor, which writes to a logger.*csv\.yaml"):
        Runtime(trainer={"callbacks": monitor})
    Runtime(trainer={"callbacks": monitor}, loggers=[{"class_path": "lightning.pytorch.loggers.CSVLogger"}])


@pytest.mark.parametrize("callback", ["EarlyStopping", callbacks.Timer, 5])
def test_what_is_no_callback_is_refused(callback: Any) -> None:
    with pytest.raises(ReadoutError, match="give objects of Lightning's class Callback"):
        Runtime(trainer={"callbacks": [callback]})


@pytest.mark.parametrize("seed", [-1, 2**32, 1e20, True, "0"])
def test_a_seed_that_no_generator_takes_is_refused(seed: Any) -> None:
    with pytest.raises(ReadoutError, match="seed is "):
        Runtime(trainer={}, seed=seed)


def test_disabled_by_its_environment_only_wandb_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    wandb, csv = "lightning.pytorch.loggers.WandbLogger", "lightning.pytorch.loggers.CSVLogger"
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert not is_disabled(wandb)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert is_disabled(wandb)
    assert not is_disabled(csv)
