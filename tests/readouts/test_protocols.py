import pytest
import torch

from readout.common.errors import ReadoutError
from readout.readouts import DiscrepancyProtocol

LOSS, FLOOR = torch.tensor([0.9, 1.0, 1.05, 1.2]), torch.ones(4)


def test_discrepancy_stops_at_the_loss_of_the_true_input() -> None:
    reached = DiscrepancyProtocol().reached(LOSS, FLOOR)
    assert reached is not None
    assert reached.tolist() == [True, True, False, False]


def test_slack_stops_sooner() -> None:
    reached = DiscrepancyProtocol(slack=0.1).reached(LOSS, FLOOR)
    assert reached is not None
    assert reached.tolist() == [True, True, True, False]


def test_slack_cannot_be_negative() -> None:
    with pytest.raises(ReadoutError, match="slack"):
        DiscrepancyProtocol(slack=-0.1)
