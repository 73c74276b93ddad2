import fcntl
import os
from pathlib import Path

import pytest

from readout.common.files import STALE_SECONDS, remove_unfinished, unfinished_name, user_path, write_first, write_whole


def aged(path: Path, seconds: float) -> Path:
    """A file of some age."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half of it")
    now = path.stat().st_mtime
    os.utime(path, (now - seconds, now - seconds))
    return path


def test_two_containers_whose_process_ids_are_the_same_write_under_different_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert unfinished_name(Path("x")) != unfinished_name(Path("x"))


def test_what_a_killed_process_left_is_removed_and_what_is_written_stays(tmp_path: Path) -> None:
    left = [unfinished_name(aged(tmp_path / folder / "x", 0)) for folder in ("", "recovered/a", "checkpoints")]
    for path in left:
        aged(path, 60)
    kept = [aged(tmp_path / "x.partial", 60), aged(unfinished_name(tmp_path / "young"), 0)]
    seen = []

    def write(path: Path) -> None:
        path.write_bytes(b"whole")
        aged(path, 60)
        remove_unfinished(tmp_path)  # as another process would
        seen.append(path.exists())

    assert write_whole(tmp_path / "y", write).exists()
    assert seen == [True]
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


def test_without_locks_only_what_is_older_than_a_day_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    old, new = (aged(unfinished_name(tmp_path / "x"), STALE_SECONDS + change) for change in (60, -60))
    remove_unfinished(tmp_path)
    assert [old.exists(), new.exists()] == [False, True]


def test_the_first_text_counts_and_nothing_else_is_left(tmp_path: Path) -> None:
    assert [write_first(tmp_path / "id", text) for text in ("a", "b")] == ["a", "a"]
    assert [path.name for path in tmp_path.iterdir()] == ["id"]


def test_a_tilde_is_expanded_at_the_beginning_of_a_path_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    given: list[str | Path] = ["~", "~/x", Path("~/x"), "x/~/y", "./~", "~nobody-of-that-name/x", "/~"]
    wanted = ["/home/me", "/home/me/x", "/home/me/x", "x/~/y", "~", "~nobody-of-that-name/x", "/~"]
    assert [str(user_path(path)) for path in given] == wanted
