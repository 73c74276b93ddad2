import platform
import subprocess
import sys

import pytest

from readout.commands.memory import keep_freed_memory

SCRIPT = """
import sys
import psutil, torch
from readout.commands.memory import keep_freed_memory

torch.ones(2)
told = sys.argv[1] == "keep" and keep_freed_memory()
before = psutil.Process().memory_info().rss
for _ in range(3):
    block = torch.ones(64 * 2**18)
    del block
print(told, (psutil.Process().memory_info().rss - before) >> 20)
"""


def held(choice: str) -> tuple[str, int]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, choice], capture_output=True, text=True, check=True)
    told, mebibytes = done.stdout.split()
    return told, int(mebibytes)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")
def test_freed_blocks_stay_with_the_process_only_if_asked() -> None:
    told, kept = held("keep")
    assert told == "True"
    assert kept >= 60
    told, kept = held("leave")
    assert told == "False"
    assert kept < 30


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
