import fcntl
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from readout.common.signals import Stop
from readout.problems import cross
from readout.sweep import claims
from readout.sweep.claims import claim, in_turn
from readout.sweep.plan import LayerPlan
from readout.sweep.probe import Cost

QUIET = Console(quiet=True)


def plan(layer: str) -> LayerPlan:
    problems = cross("setting", [("cat", "digest")], layer, [0.0], 1, 0)
    return LayerPlan(layer, problems, [problems], Cost(), 0, 1, 1, 1)


def test_what_one_has_no_other_gets(tmp_path: Path) -> None:
    with claim(tmp_path / "folder" / "a") as first, claim(tmp_path / "folder" / "a") as second:
        assert (first, second) == (True, False)
        with claim(tmp_path / "folder" / "b") as other:
            assert other
    with claim(tmp_path / "folder" / "a") as again:
        assert again
    assert not list((tmp_path / "folder").iterdir())


def test_the_claim_of_a_process_that_is_gone_means_nothing(tmp_path: Path) -> None:
    script = "import fcntl, os, sys; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], check=False).returncode == 9
    assert (tmp_path / "a").exists()
    with claim(tmp_path / "a") as mine:
        assert mine


def test_a_claim_on_a_file_that_was_removed_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    flock = fcntl.flock

    def removed(file: Any, flags: int) -> None:
        path.unlink()
        flock(file, flags)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", removed)
        with claim(path) as mine:
            assert not mine
    with claim(path) as mine:
        assert mine


def test_without_locks_everyone_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "fcntl", None)
    with claim(tmp_path / "a") as first, claim(tmp_path / "a") as second:
        assert first
        assert second


def test_layers_of_others_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop()
    layers = [plan("early"), plan("middle"), plan("late")]
    held = claim(tmp_path / f"{layers[0].name}.claim")
    assert held.__enter__()
    waited = []

    def give_back(seconds: float) -> None:
        waited.append(seconds)
        held.__exit__(None, None, None)

    monkeypatch.setattr(stop, "wait", give_back)
    with closing(in_turn(layers, tmp_path, stop, QUIET)) as turns:
        assert [layer.layer for layer in turns] == ["middle", "late", "early"]
    assert len(waited) == 1


def test_what_was_claimed_is_given_back_when_work_breaks_off(tmp_path: Path) -> None:
    def work() -> None:
        with closing(in_turn([plan("early")], tmp_path, Stop(), QUIET)) as turns:
            next(turns)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert not list(tmp_path.iterdir())


def test_names_tell_settings_and_layers_apart() -> None:
    assert plan("early").name != plan("middle").name
    assert plan("early").name == plan("early").name
