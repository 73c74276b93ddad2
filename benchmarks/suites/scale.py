"""Time and memory of a sweep's bookkeeping, without its inversions, against the number of problems."""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import bookkeeping, synthetic
from benchmarks.options import Options
from benchmarks.pace import peak_bytes, resident_bytes
from benchmarks.table import Table
from readout.analysis.report import report
from readout.analysis.sizes import sizes_table
from readout.problems.search import Search
from readout.store import ResultStore, load_results

COUNTS = (1_000, 10_000, 100_000, 1_000_000)


def run(options: Options) -> Table:
    """Measure each step of the bookkeeping in a process of its own, at numbers of problems up to a million."""
    table = Table("Bookkeeping of a sweep, without its inversions")
    per_input = len(synthetic.LAYERS) * len(synthetic.LEVELS)
    table.note(
        f"{len(synthetic.LAYERS)} layers × {len(synthetic.LEVELS)} levels, the rest are inputs; one part per layer, "
        f"trajectories of {synthetic.RECORDS} records. Peak memory is that of the whole process, libraries included."
    )
    # a quick run is for what it says, not for its peak memory
    alone = (lambda function, *arguments: function(*arguments)) if options.quick else _alone
    for count in COUNTS[:1] if options.quick else COUNTS:
        inputs = max(1, count // per_input)
        with tempfile.TemporaryDirectory() as folder:
            problems = inputs * per_input
            table.add(problems=problems, step="plan", **alone(_measured, _plan, Path(folder) / "new", inputs))
            for search in ("grid", "bisection"):
                own = Path(folder) / search
                table.add(problems=problems, step=f"batches, {search}", **alone(_batches, own, inputs, search))
            alone(synthetic.write_folder, Path(folder), inputs)
            for name, step in STEPS.items():
                table.add(problems=problems, step=name, **alone(_measured, step, Path(folder), inputs))
    return table


def _plan(folder: Path, inputs: int) -> Callable[[], object]:
    """Plan a sweep into an empty folder, its inputs and problems included; nothing is probed."""

    def planned() -> None:
        driver = bookkeeping.make_driver(folder, inputs, "grid")
        with driver.working():
            driver.plan(bookkeeping.QUIET)

    return planned


def _batches(folder: Path, inputs: int, search: Search) -> dict[str, float]:
    """Run a sweep whose batches are answered at once."""
    driver = bookkeeping.make_driver(folder, inputs, search)
    with driver.working():
        plan = driver.plan(bookkeeping.QUIET)
    resident_bytes()
    started, started_cpu = time.perf_counter(), time.process_time()
    per_batch = bookkeeping.run(driver, plan)
    took = {"seconds": time.perf_counter() - started, "CPU seconds": time.process_time() - started_cpu}
    return {**took, "peak MiB": peak_bytes() / 2**20, **per_batch}


def _forming(folder: Path, inputs: int) -> Callable[[], object]:
    return lambda: [[problem.key for problem in of_layer] for of_layer in synthetic.problems(inputs)]


def _finished(folder: Path, inputs: int) -> Callable[[], object]:
    return ResultStore(folder).finished


def _loading(folder: Path, inputs: int) -> Callable[[], object]:
    return lambda: load_results(folder)


def _sizes(folder: Path, inputs: int) -> Callable[[], object]:
    results = load_results(folder)
    return lambda: sizes_table(results)


def _report(folder: Path, inputs: int) -> Callable[[], object]:
    return lambda: report([folder])


Step = Callable[[Path, int], Callable[[], object]]

STEPS: dict[str, Step] = {
    "problems and keys": _forming,
    "finished()": _finished,
    "load_results": _loading,
    "sizes_table": _sizes,
    "report": _report,
}
"""What is measured: functions of a folder and its number of inputs that prepare a step and return it."""


def _measured(step: Step, folder: Path, inputs: int) -> dict[str, float]:
    """Return what a step takes, and the size of the page that it wrote, if any."""
    prepared = step(folder, inputs)
    resident_bytes()
    started, started_cpu = time.perf_counter(), time.process_time()
    found = prepared()
    took = {"seconds": time.perf_counter() - started, "CPU seconds": time.process_time() - started_cpu}
    page = {"page MB": found.stat().st_size / 1e6} if isinstance(found, Path) else {}
    return {**took, "peak MiB": peak_bytes() / 2**20, **page}


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, whose peak memory is then the function's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()
