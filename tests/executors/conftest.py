"""One Ray cluster for all tests of executors."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# read when Ray is imported
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from ray.cluster_utils import Cluster

from tests.executors.kept import Kept

ROOT = Path(__file__).parents[2]
WORKERS = 2


@pytest.fixture(scope="session")
def nodes() -> Iterator[Any]:
    """A cluster whose head runs no workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)  # workers import `tests`
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="session")
def kept_workers(nodes: Any) -> Iterator[Kept]:
    executor = Kept(nodes.address)
    yield executor
    executor.close()


@pytest.fixture
def kept(nodes: Any, kept_workers: Kept) -> Kept:
    """An executor with two workers, each on a node of its own."""
    have(nodes, WORKERS)
    return kept_workers


@pytest.fixture
def lonely(nodes: Any, kept_workers: Kept) -> Kept:
    """The same with one worker, where the second would only cost time."""
    have(nodes, 1)
    return kept_workers


def have(nodes: Any, count: int) -> None:
    """Add or remove nodes until there are so many."""
    while len(nodes.worker_nodes) < count:
        nodes.add_node(num_cpus=1)
    while len(nodes.worker_nodes) > count:
        lose(nodes)


def lose(nodes: Any) -> None:
    """Lose a node with all its processes."""
    nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)


def wait_for(true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
