from pathlib import Path

import pytest

from benchmarks.driver import Measured, Pacing, Refused, Worker, measure, quartiles, ratios
from benchmarks.work import Work

SMALL = Work(layer="conv1_1", size=32, weights="random")
ONE_TURN = Pacing(rounds=2, seconds=0.0)


def measured(problems: int, *walls: float) -> Measured:
    turns = [{"steps": 2, "wall": wall, "cpu": 2 * wall, "parts": {"encoder": wall / 4}} for wall in walls]
    return Measured(Work(), {"problems": problems}, turns)


def test_time_is_that_of_one_step_of_one_problem() -> None:
    found = measured(4, 0.8, 1.6)
    assert found.milliseconds() == pytest.approx([100, 200])
    assert found.milliseconds("cpu") == pytest.approx([200, 400])
    assert found.part("encoder") == pytest.approx(0.25)
    assert found.part("nowhere") == 0


def test_ratios_are_taken_round_by_round() -> None:
    # a machine that is twice as slow in the second round slows both sides
    assert ratios(measured(1, 0.4, 0.8), measured(4, 0.8, 1.6)) == pytest.approx([2, 2])
    assert quartiles([1, 2, 3, 4, 5]) == (2, 3, 4)
    assert quartiles([7.0]) == (7, 7, 7)


@pytest.mark.slow
def test_sides_take_turns_and_keep_the_pace() -> None:
    ours, machine = measure([SMALL.but(problems=2), SMALL.but(side="machine")], ONE_TURN, threads=1)
    assert ours.problems == 2
    assert [len(side.turns) for side in (ours, machine)] == [2, 2]
    assert all(turn["steps"] >= 1 and turn["wall"] > 0 for side in (ours, machine) for turn in side.turns)
    assert 0 < sum(ours.part(part) for part in ("generator", "encoder", "loss and record", "optimiser")) <= 1
    # the first convolution's 2 · 9 · 3 · 64 · 32² operations, once forward and once backward, and the generator
    assert ours.facts["flops"] > 2 * 2 * 9 * 3 * 64 * 32**2
    assert ours.facts["base_bytes"] < ours.peak_bytes


@pytest.mark.slow
def test_the_automatic_number_of_problems_is_a_sweeps() -> None:
    with Worker(SMALL.but(problems=0), threads=1) as worker:
        assert worker.hear()["problems"] in (1, 2, 4, 8, 16)


@pytest.mark.slow
def test_the_fast_paths_can_be_left_out() -> None:
    paths = ("one network", "channels last", "fused update", "kept memory")
    with Worker(SMALL.but(without=paths), threads=1) as worker:
        worker.hear()
        assert worker.turn(1)["steps"] == 1


@pytest.mark.slow
def test_a_peer_that_is_not_there_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bdpy.py").write_text("raise ImportError(name='bdpy')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        pytest.raises(Refused, match=r"bdpy is not installed; `pip install"),
        Worker(SMALL.but(side="bdpy"), 1) as peer,
    ):
        peer.hear()


@pytest.mark.slow
def test_a_layer_that_is_not_there_is_told_in_a_sentence_too() -> None:
    with pytest.raises(Refused, match="no layer 'conv9_9'"), Worker(SMALL.but(layer="conv9_9"), 1) as side:
        side.hear()


@pytest.mark.slow
def test_a_side_that_breaks_shows_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'nobody'"), Worker(SMALL.but(side="nobody"), 1) as side:
        side.hear()
