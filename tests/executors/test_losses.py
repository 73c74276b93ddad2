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
from tests.executors.conftest import WORKERS, wait_for
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
                nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)

        kept.at_report = at_report

    yield lose_when
    kept.at_report = lambda report: None


@pytest.mark.parametrize("sees_folder", [True, False])
def test_a_batch_whose_node_is_lost_goes_on_elsewhere_from_its_checkpoint_if_there_is_one(
    sees_folder: bool, tmp_path: Path, kept: Kept, lose_a_node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # workers have another working directory
    settings: dict[str, Any] = {"levels": [0.3, 0.7], "batch_size": 2, "steps": 200, "checkpoint_minutes": 1e-9}
    run(Path("whole"), dip(), noise(), InterruptAt(), **settings)
    monkeypatch.setattr(kept, "sees_folder", sees_folder)

    def both_run() -> bool:
        saved = [*Path("out/checkpoints").glob("*.ckpt")]
        return len({told.job for told in kept.reports if told.step > 10}) == 2 and len(saved) == 2 * sees_folder

    lose_a_node(both_run)
    run(Path("out"), dip(), noise(), InterruptAt(), Slow(), **settings, executor=kept)
    assert any(told.first > 10 for told in kept.reports) == sees_folder
    assert_same_bits(Path("out"), Path("whole"))
    assert not Path("out/checkpoints").exists()


def test_a_node_that_joins_is_used(nodes: Any, kept: Kept) -> None:
    found: set[str] = set()
    jobs = map(Where, range(10_000))
    with kept.opened(None):
        for _, node in kept.run(lambda: next(jobs) if len(found) < WORKERS + 1 else None, WATCH):
            if not found:  # the first answer
                joined = nodes.add_node()
            found.add(node)
    nodes.remove_node(joined)
    assert joined.node_id in found


def test_a_batch_that_always_ends_its_worker_is_left_out(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "losses", 2)
    poison, settings = tmp_path / "poison", {"levels": [0.5], "batch_size": 1, "steps": 10}
    poison.touch()
    _, whole = run(tmp_path / "whole", dip(), noise(), InterruptAt(), **settings)
    ill, well = whole["sample"]
    with pytest.raises(ReadoutError) as refused:
        run(tmp_path / "out", dip(), noise(), InterruptAt(), Poison(str(poison), ill), **settings, executor=kept)
    assert str(refused.value).startswith(
        "1 batch (1 problem) was left out, because it ended 2 workers, at layer 'middle' with the inputs "
        f"{ill}; all others are stored."
    )
    assert list(load_results(tmp_path / "out")["sample"]) == [well]
    poison.unlink()
    run(tmp_path / "out", dip(), noise(), InterruptAt(), **settings, executor=kept)
    assert_same_bits(tmp_path / "out", tmp_path / "whole")


def test_a_job_is_not_blamed_for_workers_that_died_before_it(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "losses", WORKERS)
    with kept.opened(None):
        processes = [number for _, number in kept.run(one_by_one([*map(DiesLater, range(WORKERS))]), WATCH)]
        assert len(set(processes)) == WORKERS
        wait_for(lambda: not any(map(psutil.pid_exists, processes)))
        ((_, answer),) = kept.run(one_by_one([Where(0)]), WATCH)
    assert not isinstance(answer, Lost)
