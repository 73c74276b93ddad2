"""Keep freed memory in the process for the next step."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of ``mallopt`` in glibc's ``malloc.h``."""


def keep_freed_memory() -> bool:
    """Let the allocator keep large freed blocks for reuse, for as long as the process runs.

    By default glibc returns blocks of many megabytes to the system, so that every step has them mapped and zeroed
    again: a fifth of its time at 64 × 64 pixels, a third and more at 224 × 224 (docs/performance.md). The process
    keeps as much as the largest batch takes, which it would need anyway.

    Returns:
        Whether the allocator took the setting; only glibc's does.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
