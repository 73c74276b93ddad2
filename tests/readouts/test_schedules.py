import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim import lr_scheduler as torchs
from torch.optim.lr_scheduler import LRScheduler

from readout.commands.fit import build
from readout.commands.parser import Parser
from readout.common.errors import ReadoutError
from readout.priors import Pixels
from readout.readouts import FeatureInversion, ImageInversion
from readout.readouts.inversion.schedules import ScheduleFactory
from tests.helpers import tiny_config, write_config
from tests.tiny import TinyNet

STEPS = 10
TORCHS = "torch.optim.lr_scheduler."


def halved(step: int) -> float:
    return 0.5**step


def warmed_up(optimizer: Optimizer, steps: int) -> LRScheduler:
    return torchs.LinearLR(optimizer, start_factor=0.1, total_iters=steps // 2)


class Stairs(torchs.StepLR):
    """A schedule of the user's own."""

    def __init__(self, optimizer: Optimizer, height: float, total_steps: int) -> None:
        super().__init__(optimizer, step_size=total_steps // 2, gamma=height)


def with_schedule(schedule: Any) -> FeatureInversion:
    """An inversion whose schedule went through the parser."""
    parser = Parser(exit_on_error=False)
    parser.add_argument("--lr_schedule", type=ScheduleFactory)
    built = parser.instantiate_classes(parser.parse_object({"lr_schedule": schedule}))
    return inversion_under(built.lr_schedule)


def inversion_under(schedule: ScheduleFactory, lr: float = 0.05) -> FeatureInversion:
    return ImageInversion(TinyNet(), Pixels(), optimizer=partial(AdamW, lr=lr), lr_schedule=schedule)


def rates(make: Callable[[Optimizer], LRScheduler] | None, inversion: FeatureInversion | None = None) -> list[Any]:
    """Rate and momentum before each step, by torch's own schedule or by an inversion's."""
    parameter = nn.Parameter(torch.zeros(1))
    if inversion is None:
        assert make is not None
        optimizer: Optimizer = AdamW([parameter], lr=0.05)
        schedule: LRScheduler | None = make(optimizer)
    else:
        optimizer, schedule = inversion._build_optimizer([parameter], STEPS)
    assert schedule is not None
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR calls what PyTorch deprecates
        for _ in range(STEPS):
            seen.append((optimizer.param_groups[0]["lr"], *optimizer.param_groups[0]["betas"]))
            optimizer.step()
            schedule.step()
    return seen


LINEAR_THEN_COSINE = [
    {"class_path": TORCHS + "LinearLR", "init_args": {"start_factor": 0.1, "total_iters": 4}},
    {"class_path": TORCHS + "CosineAnnealingLR"},
]

TABLE: list[tuple[str, dict[str, Any], Callable[[Optimizer], LRScheduler]]] = [
    (TORCHS + "ExponentialLR", {"gamma": 0.9}, lambda o: torchs.ExponentialLR(o, 0.9)),
    (TORCHS + "StepLR", {"step_size": 3, "gamma": 0.5}, lambda o: torchs.StepLR(o, 3, 0.5)),
    (TORCHS + "MultiStepLR", {"milestones": [2, 7]}, lambda o: torchs.MultiStepLR(o, [2, 7])),
    (TORCHS + "ConstantLR", {"factor": 0.5, "total_iters": 4}, lambda o: torchs.ConstantLR(o, 0.5, 4)),
    (TORCHS + "LinearLR", {"start_factor": 0.2}, lambda o: torchs.LinearLR(o, 0.2, total_iters=STEPS)),
    (TORCHS + "PolynomialLR", {}, lambda o: torchs.PolynomialLR(o, STEPS)),
    (TORCHS + "PolynomialLR", {"total_iters": 4, "power": 2.0}, lambda o: torchs.PolynomialLR(o, 4, 2.0)),
    (TORCHS + "CosineAnnealingLR", {"eta_min": 0.01}, lambda o: torchs.CosineAnnealingLR(o, STEPS, 0.01)),
    (TORCHS + "CosineAnnealingLR", {"T_max": 3}, lambda o: torchs.CosineAnnealingLR(o, 3)),
    (TORCHS + "CosineAnnealingWarmRestarts", {"T_0": 4}, lambda o: torchs.CosineAnnealingWarmRestarts(o, 4)),
    (TORCHS + "OneCycleLR", {"max_lr": 0.3}, lambda o: torchs.OneCycleLR(o, 0.3, STEPS)),
    (
        TORCHS + "OneCycleLR",
        {"max_lr": 0.3, "epochs": 4, "steps_per_epoch": 5},
        lambda o: torchs.OneCycleLR(o, 0.3, 20),
    ),
    (
        TORCHS + "CyclicLR",
        {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3},
        lambda o: torchs.CyclicLR(o, 0.01, 0.1, 3),
    ),
    (TORCHS + "LambdaLR", {"lr_lambda": __name__ + ".halved"}, lambda o: torchs.LambdaLR(o, halved)),
    (TORCHS + "MultiplicativeLR", {"lr_lambda": __name__ + ".halved"}, lambda o: torchs.MultiplicativeLR(o, halved)),
    (
        TORCHS + "SequentialLR",
        {"schedulers": LINEAR_THEN_COSINE, "milestones": [4]},
        lambda o: torchs.SequentialLR(
            o, [torchs.LinearLR(o, 0.1, total_iters=4), torchs.CosineAnnealingLR(o, STEPS - 4)], [4]
        ),
    ),
    (
        TORCHS + "ChainedScheduler",
        {"schedulers": LINEAR_THEN_COSINE},
        lambda o: torchs.ChainedScheduler([torchs.LinearLR(o, 0.1, total_iters=4), torchs.CosineAnnealingLR(o, STEPS)]),
    ),
    (__name__ + ".Stairs", {"height": 0.5}, lambda o: torchs.StepLR(o, STEPS // 2, 0.5)),
]


@pytest.mark.parametrize(("path", "arguments", "torchs_own"), TABLE, ids=[each[0].split(".")[-1] for each in TABLE])
def test_a_schedule_runs_as_torchs_own_and_is_told_apart(
    path: str, arguments: dict[str, Any], torchs_own: Callable[[Optimizer], LRScheduler]
) -> None:
    inversion = with_schedule({"class_path": path, "init_args": arguments})
    assert rates(None, inversion) == rates(torchs_own)
    described = inversion.describe(STEPS)["lr_schedule"]
    assert described["class"].endswith(path.rpartition(".")[2])
    described_elsewhere = inversion.describe(STEPS - 1)["lr_schedule"]
    legacy = path.endswith(("PolynomialLR", "CosineAnnealingLR")) and not {"total_iters", "T_max"} & {*arguments}
    assert ("course" not in described) == legacy == (described == described_elsewhere)


def test_schedules_from_the_command_line_and_out_of_the_configuration_that_is_kept(tmp_path: Path) -> None:
    config = str(write_config(tmp_path / "config.yaml", tiny_config(tmp_path / "out")))
    steps = ["--model.lr_schedule", TORCHS + "StepLR", "--model.lr_schedule.step_size", "3"]
    cli = build(["--config", config, *steps, "--model.lr_schedule.gamma", "0.5"])
    (tmp_path / "kept.yaml").write_text(yaml.safe_dump(dict(cli.runtime().config)))
    again = build(["--config", str(tmp_path / "kept.yaml")])
    assert rates(None, cli.model) == rates(None, again.model) == rates(lambda o: torchs.StepLR(o, 3, 0.5))
    assert cli.model.describe(STEPS) == again.model.describe(STEPS)


def test_the_default_runs_the_whole_way_and_keeps_its_key() -> None:
    inversion = inversion_under(torchs.PolynomialLR)
    assert rates(None, inversion) == rates(lambda o: torchs.PolynomialLR(o, STEPS))
    described = inversion.describe(STEPS)["lr_schedule"]
    described.pop("verbose", None)  # torch 2.6 has it
    assert described == {
        "class": "torch.optim.lr_scheduler.PolynomialLR",
        "total_iters": 1,
        "power": 1.0,
        "base_lrs": [0.05],
        "last_epoch": 0,
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (partial(torchs.StepLR, step_size=3), partial(torchs.StepLR, step_size=4)),
        (partial(torchs.PolynomialLR, total_iters=1), torchs.PolynomialLR),
        (partial(torchs.OneCycleLR, max_lr=0.1, pct_start=0.3), partial(torchs.OneCycleLR, max_lr=0.1, pct_start=0.5)),
        (lambda o: torchs.LambdaLR(o, lambda step: 0.9**step), lambda o: torchs.LambdaLR(o, lambda step: 0.8**step)),
        (warmed_up, lambda optimizer, steps: warmed_up(optimizer, steps + 4)),
    ],
)
def test_other_courses_are_other_settings(one: ScheduleFactory, other: ScheduleFactory) -> None:
    described = [inversion_under(each).describe(STEPS) for each in (one, one, other)]
    assert described[0] == described[1] != described[2]


def test_groups_with_rates_of_their_own_are_told_apart() -> None:
    inversion = inversion_under(torchs.PolynomialLR)
    inversion.optimizer = lambda parameters: AdamW([{"params": parameters, "lr": 0.1}], lr=0.05)
    assert inversion.describe(STEPS)["optimizer"]["groups"][0]["0.lr.0"] == 0.1


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (torchs.ReduceLROnPlateau, "ReduceLROnPlateau follows a metric of the whole batch"),
        (torchs.StepLR, "StepLR can't be used here: .*step_size"),
        (partial(torchs.OneCycleLR, max_lr=0.1, total_steps=3), "OneCycleLR can't be used here: Tried to step 4 times"),
        (partial(torchs.ExponentialLR, gamma=float("nan")), "lr of torch.optim.adamw.AdamW at step 1 is nan"),
        (partial(torchs.ExponentialLR, gamma=-0.5), "lr of torch.optim.adamw.AdamW at step 1 is -0.025"),
        (partial(torchs.ExponentialLR, gamma=1e200), "lr of torch.optim.adamw.AdamW at step 2 is inf"),
        (lambda optimizer: None, "lambda.* can't be used here: it returns a NoneType"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(schedule: ScheduleFactory, said: str) -> None:
    with pytest.raises(ReadoutError, match=said):
        inversion_under(schedule).describe(STEPS)


def test_every_schedule_can_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    for path, arguments, _ in TABLE:
        inversion = with_schedule({"class_path": path, "init_args": arguments})
        _, schedule = inversion._build_optimizer([nn.Parameter(torch.zeros(1))], STEPS)
        assert schedule is not None
        torch.save(schedule.state_dict(), tmp_path / "state")
        schedule.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
