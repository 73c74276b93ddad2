import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer, Rprop

from readout.inversions.optimizers import fused


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
