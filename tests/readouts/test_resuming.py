"""What a checkpoint holds comes back as it was."""

import random
from typing import Any

import numpy as np
import torch

from readout.priors import DeepImagePrior, Prior, TokenSequence
from readout.readouts.inversion.resuming import random_states, set_random_states
from readout.readouts.trajectory import BLOCK, Trajectory


def drawn() -> list[float]:
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(()).item()]


def test_every_global_generator_goes_on_where_it_was() -> None:
    drawn()
    states = random_states()
    expected = drawn()
    assert drawn() != expected
    set_random_states(states)
    assert drawn() == expected


def test_a_trajectory_goes_on_in_the_same_record() -> None:
    values = torch.rand(BLOCK + 7, 3, generator=torch.Generator().manual_seed(0))
    whole, first = Trajectory(), Trajectory()
    for step, row in enumerate(values):
        whole.add(step, loss=row)
        if step < BLOCK + 2:
            first.add(step, loss=row)
    second = Trajectory.resumed(first.state(), torch.device("cpu"))
    for step in range(BLOCK + 1, len(values)):  # the last recorded step is not recorded again
        second.add(step, loss=values[step])
    assert second.steps == whole.steps
    assert torch.equal(second.stacked("loss"), whole.stacked("loss"))


def test_a_record_of_nothing_comes_back() -> None:
    assert Trajectory.resumed(Trajectory().state(), torch.device("cpu")).steps == []


def test_a_prior_comes_back_with_those_that_stayed_in_its_own_precision() -> None:
    first = DeepImagePrior(filters=[4, 8]).double()
    first.initialise(range(5), torch.Size([3, 16, 16]))
    first = first.double()
    for parameter in first.parameters():
        parameter.data += 1e-9
    rows = torch.tensor([0, 3])
    first.keep(rows)
    second = DeepImagePrior(filters=[4, 8])
    second.initialise(range(5), torch.Size([3, 16, 16]))
    second.keep(rows)
    second.resume(first.progress())
    assert second.latents.dtype == torch.float64
    assert torch.equal(second(), first())


def test_buffers_come_back_too() -> None:
    def prior() -> Any:
        made: Prior = TokenSequence()
        made.initialise([0, 1], torch.Size([4]))
        return made

    first, second = prior(), prior()
    first.tokens[0, 2] = 7
    second.resume(first.progress())
    assert torch.equal(first.tokens, second.tokens)
