"""Stops of a sweep on a cluster: each exit code, what is saved, and that no worker stays behind."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from readout import cli, load_results
from readout.representation import linear_distance
from tests.executors.conftest import have, wait_for
from tests.executors.kept import Kept
from tests.helpers import Command, tiny_config, write_config
from tests.sweep.interrupted import assert_same_bits


@pytest.fixture
def node(nodes: Any, kept_workers: Kept) -> Iterator[Any]:
    """The only node, for two workers."""
    kept_workers.close()  # those that wait for a node would take the places
    have(nodes, 0)
    yield nodes.add_node(num_cpus=2)
    have(nodes, 0)


def workers(node: Any) -> list[psutil.Process]:
    """Worker processes of a node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [each for each in raylet.children(recursive=True) if "ray::Worker" in each.name()]


def fit(folder: Path, output: str, slowly: bool, **sweep: Any) -> list[str]:
    """Arguments of a sweep of two batches."""
    slow = [{"class_path": "tests.executors.callbacks.Slow", "init_args": {"seconds": 0.2}}] if slowly else []
    settings = {"layers": ["middle"], "levels": [0.3, 0.7], "checkpoint_minutes": 1e-9, **sweep}
    config = tiny_config(folder / output, trainer={"max_steps": 300, "callbacks": slow}, sweep=settings)
    return ["fit", "--config", str(write_config(folder / f"{output}.yaml", config))]


@pytest.mark.slow
def test_a_sweep_that_is_stopped_in_every_way_goes_on_to_the_bit(tmp_path: Path, nodes: Any, node: Any) -> None:
    checkpoints = tmp_path / "out" / "checkpoints"

    def saved() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in checkpoints.glob("*.ckpt")}

    def stop(number: int, count: int) -> tuple[int, str, str]:
        """Send a signal to the driver once its workers have written checkpoints."""
        before = saved()
        executor = {"class_path": "Ray", "init_args": {"workers": count, "cpus": 1}}
        arguments = fit(tmp_path, "out", slowly=True, executor=executor)
        command = Command(*arguments, cwd=tmp_path, environment={"RAY_ADDRESS": nodes.address})
        wait_for(lambda: len(saved().items() - before.items()) == count)
        command.signal(number)
        ended = command.finish()
        wait_for(lambda: not workers(node))
        return ended

    code, _, said = stop(signal.SIGTERM, 2)
    assert code == 143
    assert said.splitlines()[-1].startswith("Stopped in the middle of 2 batches, 2 of which are saved; ")
    assert len(saved()) == 2
    code, _, _ = stop(signal.SIGKILL, 1)
    assert code == -signal.SIGKILL
    assert len(saved()) == 2
    code, shown, said = stop(signal.SIGINT, 1)
    assert code == 130
    assert "going on at step" in shown
    assert "which is saved; the same command goes on from there." in said.splitlines()[-1]
    assert cli.main(fit(tmp_path, "out", slowly=False)) == cli.main(fit(tmp_path, "whole", slowly=False)) == 0
    assert_same_bits(tmp_path / "out", tmp_path / "whole")
    assert not checkpoints.exists()


@pytest.mark.slow
def test_the_closed_form_on_a_cluster_of_this_machine(tmp_path: Path) -> None:
    arguments = ["--config", "linear_check.yaml", "--sweep.output", "out", "--sweep.batch_size", "40"]
    code, shown, said = Command("fit", *arguments, "--sweep.executor", "Ray", cwd=tmp_path).finish()
    assert (code, said) == (0, ""), shown
    for level, distance in load_results(tmp_path / "out").groupby("level")["distance"].mean().items():
        assert distance == pytest.approx(float(linear_distance(float(str(level)), 8)), abs=0.02)
