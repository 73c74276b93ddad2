"""Facts: the plain values by which runs are searched and compared in a logger."""

import itertools
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from readout.callbacks.dashboard import Dashboard, Facts
from readout.inversions import FeatureInversion
from readout.inversions.run import readout_columns
from readout.problems import Problem
from readout.sweep.driver import Driver
from readout.sweep.plan import Plan
from readout.version import __version__


def dashboard_of(driver: Driver, plan: Plan, judgement: Facts, more: Facts) -> Dashboard:
    """Make the dashboard of a sweep.

    Args:
        driver: Inverts the sweep's problems.
        plan: The sweep's.
        judgement: What turns results into verdicts and sizes.
        more: Further facts that runs are searched by.
    """
    runtime, store = driver.runtime, driver.store
    if not runtime.loggers:
        return Dashboard([], [], {}, store, {}, judgement)
    problem = next(itertools.chain(*driver.problems.values()))
    facts = describe_sweep(
        driver.inversion,
        readout_columns(driver.inversion, driver.setting.network),
        problem,
        driver.inputs,
        **judgement,
        **more,
        steps=plan.steps,
        precision=driver.setting.precision,
        output=str(plan.output),
        sweep=f"{plan.output.name}-{problem.setting[:6]}",
    )
    return Dashboard(runtime.loggers, runtime.callbacks, runtime.config, store, facts, judgement)


def describe_sweep(
    inversion: FeatureInversion, columns: Facts, problem: Problem, inputs: Mapping[str, Tensor], **more: Any
) -> dict[str, Any]:
    """Return the plain values by which runs are searched and compared.

    Args:
        inversion: The readout.
        columns: Columns that all rows of the results share.
        problem: Any problem of the sweep.
        inputs: True inputs by name.
        more: Further facts.
    """
    readout = inversion.describe()
    optimizer, schedule = readout.get("optimizer") or {}, readout.get("lr_schedule") or {}
    return {
        **columns,
        "optimizer": _short(optimizer.get("class")),
        "lr": optimizer.get("lr"),
        "lr_schedule": _short(schedule.get("class")),
        "loss": type(inversion.loss).__name__,
        "inputs": len(inputs),
        "input_shape": "×".join(map(str, next(iter(inputs.values())).shape)),
        "seed": problem.seed,
        "setting": problem.setting,
        "readout_version": __version__,
        **more,
    }


def _short(path: object) -> str | None:
    """Return the last part of an import path."""
    return str(path).rpartition(".")[2] if path else None
