"""Killed, interrupted, out of space, or not alone: nothing finished is lost and nothing counts twice."""

import io
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from readout import cli, load_results
from readout.store import ResultStore
from tests.helpers import CPU, Command, tiny_config, write_config

ROOT = Path(__file__).parent.parent
STEPS = 400
OFTEN = ["--sweep.checkpoint_minutes", "0.001"]


def start(config: Path, *more: str, limit: int | None = None) -> Command:
    """``fit`` in a process of its own, which may write no file larger than a number of bytes."""
    return Command("fit", "--config", str(config), *more, cwd=ROOT, limit=limit)


def config_of(folder: Path, steps: int = STEPS, **sweep: Any) -> Path:
    sections = {"trainer": {**CPU, "max_steps": steps}, "sweep": sweep}
    return write_config(folder.with_suffix(".yaml"), tiny_config(folder, **sections))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of a sweep that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    config_of(folder)
    goes_on(folder)
    return folder


def wait_for(condition: Callable[[], bool], process: Command) -> None:
    deadline = time.monotonic() + 900
    while not condition():
        assert process.is_alive(), process.finish()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def newest(folder: Path, pattern: str) -> int:
    """Time of the last change of any such file in nanoseconds; 0 without one."""
    with suppress(FileNotFoundError):  # removed meanwhile
        return max((path.stat().st_mtime_ns for path in folder.glob(pattern)), default=0)
    return 0


def freeze_where(condition: Callable[[], bool], process: Command) -> None:
    """Halt a process where something holds, and keep it from going on."""
    while True:
        wait_for(condition, process)
        process.signal(signal.SIGSTOP)
        time.sleep(0.05)
        if condition():
            return
        process.signal(signal.SIGCONT)


def assert_as_if_nothing_had_happened(folder: Path, whole: Path) -> None:
    found, expected = (load_results(one, trajectories=True).drop(columns="seconds") for one in (folder, whole))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    recovered, same = (ResultStore(one).load_recovered(expected["key"]) for one in (folder, whole))
    assert all(torch.equal(recovered[key], same[key]) for key in expected["key"])
    assert (folder / "sizes.csv").read_text() == (whole / "sizes.csv").read_text()
    assert not (folder / "checkpoints").exists()
    assert not list(folder.rglob("*.partial"))


def goes_on(folder: Path) -> str:
    """What the same command says the next time; here, because a process of its own takes seconds to start."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "160")
        assert cli.main(["fit", "--config", str(folder.with_suffix(".yaml"))]) == 0, said.getvalue()
    return said.getvalue()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_is_answered_with_a_checkpoint_and_a_sentence(
    tmp_path: Path, whole: Path, number: int, code: int
) -> None:
    folder = tmp_path / "out"
    process = start(config_of(folder), *OFTEN)
    wait_for(lambda: any((folder / "checkpoints").glob("*.ckpt")), process)
    process.signal(number)
    returncode, _, error = process.finish()
    assert returncode == code
    sentence = error.strip().splitlines()[-1]
    assert sentence.startswith("Stopped after step ")
    assert sentence.endswith(f" of {STEPS}, which is saved; the same command goes on from there.")
    step = sentence.split()[3]
    assert f"going on at step {step} with 2 inversions" in goes_on(folder)
    assert_as_if_nothing_had_happened(folder, whole)


def test_ctrl_c_twice_stops_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    process = start(config_of(folder, steps=1_000_000, checkpoint_minutes=None))
    wait_for((folder / "planned.json").exists, process)
    time.sleep(0.5)
    process.signal(signal.SIGINT)
    process.signal(signal.SIGINT)
    returncode, _, error = process.finish()
    assert returncode == 130
    assert "Traceback" not in error


def test_kill_9_loses_no_more_than_what_came_after_the_last_checkpoint(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "out"
    process = start(config_of(folder), *OFTEN)
    wait_for(lambda: any((folder / "results").glob("*.parquet")), process)
    # not one of a batch that has just been stored
    freeze_where(lambda: newest(folder / "checkpoints", "*.ckpt") > newest(folder / "results", "*.parquet"), process)
    process.kill()
    process.join()
    finished = len(load_results(folder))
    said = goes_on(folder)
    assert f"{finished} already done" in said
    assert "going on at step" in said
    assert_as_if_nothing_had_happened(folder, whole)


def test_a_second_process_is_refused_and_changes_nothing(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "out"
    first = start(config_of(folder), *OFTEN)
    freeze_where(lambda: any((folder / "checkpoints").glob("*.ckpt")), first)
    before = files(folder)
    returncode, _, error = start(config_of(folder)).finish()
    assert returncode == 2
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert f"{str(folder)!r} is in use by process {first.pid} on " in line
    assert "Traceback" not in error
    assert files(folder) == before
    first.signal(signal.SIGCONT)
    assert first.finish()[0] == 0
    assert_as_if_nothing_had_happened(folder, whole)


def files(folder: Path) -> dict[Path, int]:
    """Times of the last change, by path."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_disk_without_room_is_one_sentence_and_what_is_finished_is_kept(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "out"
    process = start(config_of(folder), limit=10_000)  # the configuration fits, a part does not
    returncode, _, error = process.finish()
    assert returncode == 2
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "can't be written" in line
    assert "make room" in line
    assert "Traceback" not in error
    goes_on(folder)
    assert_as_if_nothing_had_happened(folder, whole)


@pytest.mark.parametrize(("damaged", "left"), [("results", 4), ("recovered", 6)])  # a layer, a batch
def test_a_part_cut_short_is_set_aside_and_computed_again(tmp_path: Path, whole: Path, damaged: str, left: int) -> None:
    folder = shutil.copytree(whole, tmp_path / "out")
    config_of(folder)
    path = sorted((folder / damaged).glob("*.*"))[0]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said = goes_on(folder)
    assert f"{path} is damaged" in said
    assert f"{left} already done" in said
    assert path.with_name(f"{path.name}.broken").exists()
    assert_as_if_nothing_had_happened(folder, whole)
