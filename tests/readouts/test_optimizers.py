import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import nn
from torch.optim import LBFGS, SGD, Adafactor, AdamW, Optimizer, Rprop
from torch.optim.lr_scheduler import LRScheduler, StepLR

from readout.common.errors import ReadoutError
from readout.data import UniformNoise
from readout.priors import Pixels
from readout.readouts import BatchedLBFGS, ImageInversion
from readout.readouts.inversion.optimizers import couples, fused
from readout.sweep import Sweep
from tests.helpers import runtime
from tests.tiny import TinyNet


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))


def after(optimizer: Optimizer, steps: int = 20) -> torch.Tensor:
    (value,) = optimizer.param_groups[0]["params"]
    for _ in range(steps):
        optimizer.zero_grad()
        (value - 0.3).square().sum().backward()
        optimizer.step()
    return value.detach()


def test_one_kernel_updates_as_the_plain_loop_does() -> None:
    plain, one_kernel = AdamW([parameter()], lr=0.05, foreach=False), fused(AdamW([parameter()], lr=0.05))
    assert one_kernel.param_groups[0]["fused"]
    torch.testing.assert_close(after(one_kernel), after(plain))


def test_what_the_user_chose_stays() -> None:
    for chosen in (
        AdamW([parameter()], foreach=False),
        AdamW([parameter()], foreach=True),
        AdamW([parameter()], fused=False),
        AdamW([parameter()], differentiable=True),
    ):
        assert not fused(chosen).param_groups[0]["fused"]


def test_optimisers_without_such_a_kernel_are_left_alone() -> None:
    assert "fused" not in fused(Rprop([parameter()])).param_groups[0]
    assert fused(SGD([parameter()], lr=0.1)).param_groups[0]["fused"]


def test_the_defaults_that_tell_results_apart_are_not_touched() -> None:
    optimizer = AdamW([parameter()])
    defaults = dict(optimizer.defaults)
    assert fused(optimizer).defaults == defaults


class Normed(SGD):
    """Descends by a step whose length is that of all rows together."""

    def step(self, closure: Any = None) -> Any:
        loss = closure()
        nn.utils.clip_grad_norm_([each for group in self.param_groups for each in group["params"]], 1.0)
        super().step()
        return loss


class ByGradient(LRScheduler):
    """A schedule that looks at gradients."""

    def get_lr(self) -> list[Any]:
        gradients = [each.grad for group in self.optimizer.param_groups for each in group["params"]]
        return [1 / (1 + sum(float(each.norm()) for each in gradients if each is not None)) for _ in self.base_lrs]


@pytest.mark.parametrize(
    ("optimizer", "schedule", "coupled"),
    [
        (AdamW, None, False),
        (partial(AdamW, lr=1e-4), partial(StepLR, step_size=3), False),
        (partial(SGD, lr=3072.0), None, False),
        (partial(SGD, lr=0.1, momentum=0.9), None, False),
        (partial(Rprop, foreach=False), None, False),
        (partial(BatchedLBFGS, lr=0.5), None, False),
        (partial(BatchedLBFGS, history=2), partial(StepLR, step_size=3), False),
        (LBFGS, None, True),
        (partial(LBFGS, lr=1e-3, line_search_fn="strong_wolfe"), None, True),
        (Adafactor, None, True),
        (Normed, None, True),
        (SGD, ByGradient, True),
    ],
)
def test_whether_an_optimiser_couples_problems_is_found_by_trying(
    optimizer: Callable[..., Optimizer], schedule: Callable[..., LRScheduler] | None, coupled: bool
) -> None:
    def build(parameters: list[nn.Parameter]) -> tuple[Optimizer, LRScheduler | None]:
        made = fused(optimizer(parameters))
        return made, None if schedule is None else schedule(made)

    assert couples(build) == coupled


def swept(folder: Path, batch_size: Any, optimizer: Any, steps: int = 4) -> tuple[pd.DataFrame, str]:
    said = io.StringIO()
    inversion = ImageInversion(TinyNet(), Pixels(clamp=False), optimizer=optimizer, lr_schedule=None, metrics=[])
    data = UniformNoise(count=3, shape=(3, 16, 16))
    sweep = Sweep("early", [0, 0.3], output=str(folder), batch_size=batch_size)
    consoles = Console(file=said, width=300), Console(file=io.StringIO())
    inverted = sweep._invert(inversion, data, runtime(steps), *consoles, trajectories=True)
    assert inverted is not None
    return inverted[0], said.getvalue()


def test_l_bfgs_recovers_inputs_whatever_the_batch_size(tmp_path: Path) -> None:
    """As it does alone; in batches of 2 and 6 it had d_X of 0.33 to 0.61."""
    found = {size: swept(tmp_path / str(size), size, LBFGS) for size in (1, 6)}
    first, _ = found[1]
    assert first.loc[first["level"] == 0, "distance"].max() < 1e-3
    assert set(first["steps"]) == {4}
    for problems, said in found.values():
        assert problems["key"].tolist() == first["key"].tolist()
        assert problems["distance"].tolist() == first["distance"].tolist()
        assert problems["trajectory_loss"].map(list).tolist() == first["trajectory_loss"].map(list).tolist()
        assert "1 inversion, because torch.optim.lbfgs.LBFGS lets those of a batch change each other" in said


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        (partial(SGD, lr=float("nan")), "lr of torch.optim.sgd.SGD is nan"),
        (partial(SGD, lr=-1.0), "SGD can't be used here: Invalid learning rate: -1"),
        (partial(SGD, lr=1.0, momentum=-2.0), "SGD can't be used here: Invalid momentum value: -2"),
        (partial(SGD, lr=1.0, momentum=float("inf")), "momentum of torch.optim.sgd.SGD is inf"),
        (partial(AdamW, weight_decay=float("nan")), "nan"),
        (partial(LBFGS, tolerance_grad=float("nan")), "tolerance_grad of torch.optim.lbfgs.LBFGS is nan"),
        (partial(BatchedLBFGS, lr=-1.0), "lr is -1.0; give a number of at least 0"),
        (partial(BatchedLBFGS, history=0), "history is 0"),
        (torch.optim.SparseAdam, "SparseAdam can't be used here: SparseAdam does not support dense gradients"),
        *(
            [(torch.optim.Muon, "Muon can't be used here: Muon only supports 2D")]
            if hasattr(torch.optim, "Muon")
            else []
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_runs(optimizer: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ReadoutError, match=said):
        swept(tmp_path, "auto", optimizer)
    assert not list(tmp_path.rglob("*.parquet"))
