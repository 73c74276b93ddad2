"""The bare machine: its fastest convolution or matrix product, repeated."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.pace import Pace
from benchmarks.work import Work

Job = Callable[[], Tensor]


def run(work: Work) -> None:
    """Repeat the product; a step is one product of known arithmetic."""
    kind = torch.bfloat16 if "bf16" in work.precision else torch.float32
    with torch.no_grad():
        jobs = [*_convolutions(work.device, kind), *_products(work.device, kind)]
        name, job, flops = max(jobs, key=lambda candidate: candidate[2] / _seconds(candidate[1], work.device))
        pace = Pace(1, work.device, flops=flops, job=name)
        while True:
            pace()
            job()


def _convolutions(device: str, kind: torch.dtype) -> list[tuple[str, Job, int]]:
    jobs: list[tuple[str, Job, int]] = []
    for channels, side, batch in ((64, 64, 16), (128, 32, 16), (256, 16, 16), (512, 28, 4), (512, 14, 64)):
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(batch, channels, side, side, device=device, dtype=kind).contiguous(memory_format=layout)
            w = torch.randn(channels, channels, 3, 3, device=device, dtype=kind).contiguous(memory_format=layout)
            flops = 2 * 9 * batch * channels**2 * side**2
            name = f"convolution 3×3, {channels} channels, {batch} × {side} × {side}"
            jobs.append((name, partial(torch.conv2d, x, w, padding=1), flops))
    return jobs


def _products(device: str, kind: torch.dtype) -> list[tuple[str, Job, int]]:
    jobs: list[tuple[str, Job, int]] = []
    for side in (1024, 2048) if device == "cpu" else (4096, 8192):
        a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
        jobs.append((f"matrix product of side {side}", partial(torch.matmul, a, b), 2 * side**3))
    return jobs


def _seconds(job: Job, device: str) -> float:
    """Return the shortest time of several runs."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        job()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])
