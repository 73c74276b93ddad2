"""Workers and nodes that are lost, and nodes that join, while a sweep runs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from readout.common.errors import ReadoutError
from readout.executors import Lost, Report
from readout.store import load_results
from tests.executors.callbacks import Poison, Slow
from tests.executors.conftest import WORKERS, have, lose, wait_for
from tests.executors.jobs import WATCH, DiesLater, Where, one_by_one
from tests.executors.kept import Kept
from tests.sweep.interrupted import InterruptAt, assert_same_bits, dip, noise, run


@pytest.fixture
def lose_a_node(nodes: Any, kept: Kept) -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Lose a node, once, at the first report from a worker after something has become true."""

    def lose_when(true: Callable[[], bool]) -> None:
        def at_report(report: Report) -> None:
            if true():
                kept.at_report = lambda report: None
                lose(nodes)

        kept.at_report = at_report

    yield lose_when
    kept.at_report = lambda report: None


def lose_a_batch(folder: Path, kept: Kept, lose_a_node: Any) -> None:
    """Lose a node in the middle of a batch, and compare what is found in the end with a sweep in one process."""
    settings: dict[str, Any] = {"levels": [0.7], "batch_size": 1, "steps": 100, "checkpoint_minutes": 1e-9}
    run(folder / "whole", dip(), noise(), InterruptAt(), **settings)
    out = folder / "out"

    def both_run() -> bool:
        saved = [*(out / "checkpoints").glob("*.ckpt")]
        return len({told.job for told in kept.reports if told.step > 10}) == 2 and len(saved) == 2 * kept.sees_folder

    lose_a_node(both_run)
    run(out, dip(), noise(), InterruptAt(), Slow(0.1), **settings, executor=kept)
    assert_same_bits(out, folder / "whole")
    assert not (out / "checkpoints").exists()


def test_a_batch_whose_node_is_lost_goes_on_from_its_checkpoint(
    tmp_path: Path, kept: Kept, lose_a_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # workers have another working directory
    lose_a_batch(Path(), kept, lose_a_node)
    assert any(told.first > 0 for told in kept.reports)


@pytest.mark.slow
def test_a_node_that_joins_is_used(nodes: Any, lonely: Kept) -> None:
    found: set[str] = set()
    jobs = map(Where, range(10_000))
    with lonely.opened(None):
        for _, node in lonely.run(lambda: next(jobs) if len(found) < 2 else None, WATCH):
            if not found:  # the first answer
                joined = nodes.add_node(num_cpus=1)
            found.add(node)
    assert joined.node_id in found


@pytest.mark.slow
def test_a_batch_whose_node_is_lost_starts_over_without_a_folder_that_workers_see(
    tmp_path: Path, kept: Kept, lose_a_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "sees_folder", False)
    lose_a_batch(tmp_path, kept, lose_a_node)
    assert {told.first for told in kept.reports} == {0}


@pytest.mark.slow
def test_a_batch_that_always_ends_its_worker_is_left_out(
    tmp_path: Path, lonely: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lonely, "losses", 2)
    settings: dict[str, Any] = {"levels": [0.5], "batch_size": 1, "steps": 10}
    poison = tmp_path / "poison"
    poison.touch()
    _, whole = run(tmp_path / "whole", dip(), noise(), InterruptAt(), **settings)
    ill, well = whole["sample"]
    with pytest.raises(ReadoutError) as refused:
        run(tmp_path / "out", dip(), noise(), InterruptAt(), Poison(str(poison), ill), **settings, executor=lonely)
    assert str(refused.value).startswith(
        "1 batch (1 problem) was left out, because it ended 2 workers, at layer 'middle' with the inputs "
        f"{ill}; all others are stored."
    )
    assert list(load_results(tmp_path / "out")["sample"]) == [well]
    poison.unlink()
    run(tmp_path / "out", dip(), noise(), InterruptAt(), **settings, executor=lonely)
    assert_same_bits(tmp_path / "out", tmp_path / "whole")


@pytest.mark.slow
def test_a_job_is_not_blamed_for_workers_that_died_before_it(
    nodes: Any, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "losses", WORKERS)
    with kept.opened(None):
        processes = [number for _, number in kept.run(one_by_one([*map(DiesLater, range(WORKERS))]), WATCH)]
        assert len(set(processes)) == WORKERS
        wait_for(lambda: not any(map(psutil.pid_exists, processes)))
        have(nodes, 1)  # a second worker would only cost time
        ((_, answer),) = kept.run(one_by_one([Where(0)]), WATCH)
    assert not isinstance(answer, Lost)
