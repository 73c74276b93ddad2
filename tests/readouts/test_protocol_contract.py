"""Rules for every protocol; a new class is one entry of :data:`PROTOCOLS`."""

import pytest
import torch
from torch.optim import AdamW

from readout.perturbations import GaussianPerturbation
from readout.priors import Pixels
from readout.readouts import (
    DiscrepancyProtocol,
    FastProtocol,
    ImageInversion,
    LastIteration,
    Outcome,
    PaperProtocol,
    ProblemBatch,
    Protocol,
)
from readout.readouts.inversion.protocols import TokenByToken
from tests.helpers import runtime
from tests.tiny import TinyNet, concrete_classes

PROTOCOLS = {
    "paper": PaperProtocol(),
    "fast": FastProtocol(),
    "discrepancy": DiscrepancyProtocol(),
    "discrepancy, sooner": DiscrepancyProtocol(slack=0.5),
    "token by token": TokenByToken(),
    "last iteration": LastIteration(),
}
STEPS, LEVELS = 40, [0.7, 0.5, 0.0]
LOSS, FLOOR = torch.tensor([0.9, 1.0, 1.05, 2.0, torch.nan]), torch.ones(5)


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Protocol:
    return PROTOCOLS[request.param]


def solve(protocol: Protocol, levels: list[float] = LEVELS) -> Outcome:
    count = len(levels)
    inversion = ImageInversion(
        TinyNet(), Pixels(), optimizer=lambda params: AdamW(params, lr=0.05), protocol=protocol, record_every=1
    )
    inversion.load(
        ProblemBatch(
            inputs=torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))[:count],
            layer="middle",
            levels=torch.tensor(levels, dtype=torch.float64),
            noise_seeds=[*range(100, 100 + count)],
            prior_seeds=[*range(200, 200 + count)],
            perturbation=GaussianPerturbation(),
        )
    )
    runtime(STEPS).make_bare_trainer().fit(inversion, range(STEPS))
    assert inversion.outcome is not None
    return inversion.outcome


@pytest.fixture(scope="module")
def whole() -> Outcome:
    """Inversions that run to their last step."""
    return solve(PaperProtocol())


def test_every_class_has_an_entry_and_a_name() -> None:
    assert {type(protocol) for protocol in PROTOCOLS.values()} == concrete_classes(Protocol)
    assert len({protocol.name for protocol in PROTOCOLS.values()}) == len(concrete_classes(Protocol))


def test_a_problem_arrives_as_it_does_alone_and_never_without_a_loss(protocol: Protocol) -> None:
    reached = protocol.reached(LOSS, FLOOR)
    if reached is None:
        assert not protocol.needs_true_input
        return
    assert reached.dtype == torch.bool
    alone = [protocol.reached(LOSS[i : i + 1], FLOOR[i : i + 1]) for i in range(5)]
    assert [bool(one) for one in alone if one is not None] == reached.tolist()
    assert reached.tolist() == sorted(reached.tolist(), reverse=True)  # losses ascend
    assert reached[0]
    assert not reached[4]


def test_a_protocol_that_looks_at_the_true_input_says_so(protocol: Protocol) -> None:
    decided, unknown = (protocol.reached(LOSS, floor) for floor in (FLOOR, torch.full((5,), torch.nan)))
    same = decided is unknown is None or (decided is not None and unknown is not None and torch.equal(decided, unknown))
    assert same == (not protocol.needs_true_input)


def test_the_iterate_that_counts_is_the_first_to_arrive_or_else_the_last(protocol: Protocol, whole: Outcome) -> None:
    losses = whole.trajectory.stacked("loss")
    steps = []
    for place in range(len(LEVELS)):
        reached = protocol.reached(losses[:, place], whole.floor[place].expand(len(losses)))
        arrived = [] if reached is None else reached.nonzero().flatten().tolist()
        steps.append(arrived[0] if arrived else STEPS)
    found = solve(protocol)
    assert found.steps.tolist() == steps
    assert steps[2] == STEPS  # without noise the floor is 0
    assert (steps[0] < STEPS) == protocol.needs_true_input
    for name in ("loss", "distance"):
        expected = whole.trajectory.stacked(name)[steps, range(len(LEVELS))]
        torch.testing.assert_close(getattr(found, name), expected, rtol=1e-3, atol=1e-6)
        for place, step in enumerate(steps):
            assert found.trajectory.stacked(name)[step + 1 :, place].isnan().all()
    # once all have arrived the inversion is over
    noisy = solve(protocol, LEVELS[:2])
    assert noisy.trajectory.steps[-1] - max(steps[:2]) in (0, 1)
