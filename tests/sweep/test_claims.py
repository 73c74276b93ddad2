import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from readout.common.errors import ReadoutError
from readout.sweep import claims
from readout.sweep.claims import claimed

HOLD = """
import sys
from pathlib import Path
from readout.sweep.claims import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_that_another_process_holds_is_refused_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "out" / "checkpoints" / "claim"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline() == "held\n"
        content = path.read_text()
        with pytest.raises(ReadoutError) as refused, claimed(path):
            pass
        assert str(refused.value).startswith(f"{str(tmp_path / 'out')!r} is in use by process {other.pid} on ")
        assert path.read_text() == content
        other.stdin.close()
        assert other.wait() == 0
    with claimed(path) as mine:
        assert path.read_text() == mine
        assert f"process {os.getpid()} " in mine


def test_the_claim_of_a_process_that_is_gone_means_nothing(tmp_path: Path) -> None:
    script = "import fcntl, os, sys; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_EX); os._exit(9)"
    path = tmp_path / "claim"
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 9
    assert path.exists()
    with claimed(path) as mine:
        assert path.read_text() == mine


def test_a_file_that_its_holder_removes_meanwhile_is_claimed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "claim"
    flock, numbers = fcntl.flock, list[int]()

    def removed_once(number: int, flags: int) -> None:
        if not numbers:
            path.unlink()
        numbers.append(number)
        flock(number, flags)

    monkeypatch.setattr(fcntl, "flock", removed_once)
    with claimed(path) as mine:
        assert path.read_text() == mine
    assert len(numbers) == 2


def test_without_locks_nobody_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "fcntl", None)
    with claimed(tmp_path / "claim") as first, claimed(tmp_path / "claim") as second:
        assert first != second


def test_a_file_system_without_locks_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(number: int, flags: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with claimed(tmp_path / "claim") as mine:
        assert (tmp_path / "claim").read_text() == mine


def test_where_nothing_can_be_written_the_claim_is_empty(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with claimed(tmp_path / "out" / "claim") as mine:
        assert mine == ""
    assert (tmp_path / "out").read_text() == "a file"


def test_work_that_breaks_off_leaves_no_claim_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(RuntimeError), claimed(tmp_path / "there" / "out" / "checkpoints" / "claim"):
        raise RuntimeError
    assert [*tmp_path.rglob("*")] == [tmp_path / "there"]


def test_folders_with_something_in_them_stay(tmp_path: Path) -> None:
    with claimed(tmp_path / "out" / "checkpoints" / "claim"):
        (tmp_path / "out" / "results").touch()
    assert [*(tmp_path / "out").iterdir()] == [tmp_path / "out" / "results"]
