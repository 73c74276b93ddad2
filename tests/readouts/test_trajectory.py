import torch

from readout.readouts.trajectory import BLOCK, Trajectory


def test_every_record_is_kept_in_order_over_several_blocks() -> None:
    trajectory = Trajectory()
    count = 2 * BLOCK + 3
    for step in range(count):
        trajectory.add(10 * step, loss=torch.tensor([step, -step], dtype=torch.float32))
        assert trajectory.latest()["loss"].tolist() == [step, -step]
    assert trajectory.steps == [10 * step for step in range(count)]
    found = trajectory.stacked("loss")
    assert found.shape == (count, 2)
    assert found[:, 0].tolist() == list(range(count))


def test_a_step_is_recorded_once() -> None:
    trajectory = Trajectory()
    trajectory.add(0, loss=torch.tensor([1.0]))
    trajectory.add(0, loss=torch.tensor([2.0]))
    assert trajectory.stacked("loss").tolist() == [[1.0]]


def test_what_is_recorded_does_not_change_with_its_source() -> None:
    trajectory, values = Trajectory(), torch.tensor([1.0])
    trajectory.add(0, loss=values)
    values.fill_(5)
    assert trajectory.stacked("loss").item() == 1


def test_the_best_is_the_least_of_the_record_and_the_scored_iterate() -> None:
    trajectory = Trajectory()
    for step, row in ((0, [0.5, 0.3, torch.nan]), (10, [0.2, 0.4, torch.nan])):
        trajectory.add(step, distance=torch.tensor(row))
    best, at = trajectory.best(torch.tensor([0.3, 0.1, 0.7]), torch.tensor([20, 17, 5]))
    torch.testing.assert_close(best, torch.tensor([0.2, 0.1, 0.7]))
    assert at.tolist() == [10, 17, 5]
