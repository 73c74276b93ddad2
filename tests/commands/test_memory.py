import platform
import subprocess
import sys

import pytest

from readout.common.memory import keep_freed_memory

SCRIPT = """
import psutil, torch
from readout.common.memory import keep_freed_memory

torch.ones(2)
for told in (False, keep_freed_memory):
    told = told and told()
    before = psutil.Process().memory_info().rss
    for _ in range(3):
        block = torch.ones(64 * 2**18)
        del block
    print(told, (psutil.Process().memory_info().rss - before) >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")
def test_freed_blocks_stay_with_the_process_only_if_asked() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    told, left, told_now, kept = done.stdout.split()
    assert (told, told_now) == ("False", "True")
    assert int(left) < 30
    assert int(kept) >= 60


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
