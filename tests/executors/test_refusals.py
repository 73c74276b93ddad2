"""What can't run on a cluster is refused in one sentence."""

import sys
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import LearningRateMonitor

from readout.common.errors import ReadoutError
from readout.executors import Ray, cluster
from readout.sweep.runtime import Runtime
from tests.executors.jobs import WATCH, Fails, Where, one_by_one
from tests.executors.kept import Kept
from tests.helpers import CPU, run_cli, tiny_config, write_config
from tests.sweep.interrupted import dip, noise, run

LOCKED = [{"class_path": "tests.executors.callbacks.Locked"}]


@pytest.mark.parametrize(
    ("executor", "trainer", "sentence"),
    [
        ({"cpus": 64}, {}, "a worker needs 64 CPUs and 0 GPUs; give sweep.executor.cpus or"),
        ({"cpus": 1}, {"callbacks": LOCKED}, "The sweep can't be sent to workers (cannot pickle '_thread.lock' object"),
        ({"address": "127.0.0.1:1"}, {}, "The Ray cluster '127.0.0.1:1' can't be joined ("),
    ],
    ids=["too large", "not picklable", "not there"],
)
def test_a_command_that_cannot_run_on_the_cluster(
    executor: dict[str, Any], trainer: dict[str, Any], sentence: str, tmp_path: Path, nodes: Any
) -> None:
    sweep = {"executor": {"class_path": "Ray", "init_args": executor}}
    config = write_config(tmp_path / "config.yaml", tiny_config(tmp_path / "out", sweep=sweep, trainer=trainer))
    ended = run_cli("fit", "--config", str(config), cwd=tmp_path, RAY_ADDRESS=nodes.address)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert sentence in line
    assert not (tmp_path / "out").exists()


def test_ray_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "readout.executors.cluster")
    with pytest.raises(ReadoutError, match=r"^Ray is not installed; run `pip install 'readout\[ray\]'`\.$"):
        run(tmp_path, dip(), noise(), executor=Ray())


def test_a_callback_that_logs_in_each_fit() -> None:
    csv = {"class_path": "lightning.pytorch.loggers.CSVLogger"}
    runtime = Runtime({**CPU, "callbacks": [LearningRateMonitor()]}, [csv])
    with pytest.raises(ReadoutError, match="LearningRateMonitor, which writes to a logger in each fit, and the work"):
        runtime.on(Ray())


@pytest.mark.parametrize("error", [ReadoutError("Do it otherwise."), ValueError("a bug")])
def test_an_error_in_a_job_is_the_same_here(error: Exception, lonely: Kept) -> None:
    with lonely.opened(None), pytest.raises(type(error), match=f"^{error}$"):
        next(lonely.run(one_by_one([Fails(error)]), WATCH))


def test_a_worker_with_other_software(lonely: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    with lonely.opened(None):
        assert lonely._cluster is not None
        monkeypatch.setattr(cluster, "versions", lambda: {"torch": "9.9"})
        lonely._cluster._ask(next(iter(lonely._cluster._ready)))
        with pytest.raises(ReadoutError, match=r"A worker has readout .*, but this process has torch 9\.9; install"):
            [*lonely.run(one_by_one([*map(Where, range(100))]), WATCH)]
