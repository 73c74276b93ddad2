"""Memory that one step frees is kept for the next."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Names of glibc's ``malloc.h``."""


def keep_freed_memory() -> bool:
    """Keep large blocks in this process once they are freed, for as long as it runs.

    By default glibc hands blocks of many megabytes back to the system, so every step pays for having them mapped and
    zeroed again: a fifth of its time at 64 × 64 pixels, a third and more at 224 × 224 (docs/performance.md). The
    largest batch decides how much the process holds on to; it would have taken that much anyway.

    Returns:
        Whether the allocator could be told; only glibc's can.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
