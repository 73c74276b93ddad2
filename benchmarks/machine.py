"""Description of the machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from readout.version import __version__

LOW_PRECISION = ("amx_bf16", "avx512_bf16")


def describe(threads: int, device: str) -> dict[str, Any]:
    """Describe processor, cores, memory, libraries and load."""
    flags = _cpuinfo("flags").split()
    described = {
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "instructions": [flag for flag in ("avx2", "avx512f", *LOW_PRECISION) if flag in flags],
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "threads": threads,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": version("lightning"),
        "readout": __version__,
        "load": round(os.getloadavg()[0], 1),
    }
    if device == "cuda":
        described["gpu"] = torch.cuda.get_device_name()
    return described


def sentence(described: dict[str, Any]) -> str:
    """Return a description on one line."""
    gpu = f"{described['gpu']}, " if "gpu" in described else ""
    return (
        f"{gpu}{described['processor']} ({', '.join(described['instructions'])}), {described['cores']} cores, "
        f"{described['threads']} threads, {described['memory_gib']} GiB, torch {described['torch']}, "
        f"lightning {described['lightning']}, readout {described['readout']}; load before the run {described['load']}"
    )


def _cpuinfo(key: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
