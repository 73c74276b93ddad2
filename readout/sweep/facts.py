"""Facts: what the runs of a sweep are searched and compared by in a logger."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from readout.callbacks.dashboard import Dashboard, Facts
from readout.inversions import FeatureInversion
from readout.problems import Problem
from readout.store import ResultStore
from readout.sweep.plan import Plan
from readout.sweep.runtime import Runtime
from readout.version import __version__


def dashboard_of(
    inversion: FeatureInversion,
    columns: Facts,
    plan: Plan,
    inputs: Mapping[str, Tensor],
    runtime: Runtime,
    store: ResultStore,
    judgement: Facts,
    perturbation: str,
) -> Dashboard:
    """The dashboard of a sweep.

    Args:
        inversion: The readout.
        columns: What every row of the results says of it.
        plan: The sweep's.
        inputs: True inputs by name.
        runtime: Has the loggers and callbacks.
        store: The output folder.
        judgement: What turns results into verdicts and sizes.
        perturbation: Name of its kind.
    """
    if not runtime.loggers:
        return Dashboard([], [], {}, store, {}, judgement)
    problem = plan.layers[0].problems[0]
    facts = describe_sweep(
        inversion,
        columns,
        problem,
        inputs,
        **judgement,
        steps=plan.steps,
        levels=list(plan.levels),
        draws=plan.draws,
        search=plan.search,
        perturbation=perturbation,
        precision=str(runtime.make_bare_trainer().precision),
        output=str(plan.output),
        sweep=f"{plan.output.name}-{problem.setting[:6]}",
    )
    return Dashboard(runtime.loggers, runtime.callbacks, runtime.config, store, facts, judgement)


def describe_sweep(
    inversion: FeatureInversion, columns: Facts, problem: Problem, inputs: Mapping[str, Tensor], **more: Any
) -> dict[str, Any]:
    """What runs are searched and compared by, one plain value a key.

    Args:
        inversion: The readout.
        columns: What every row of the results says of it.
        problem: Any of the sweep.
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
    """The last part of an import path."""
    return str(path).rpartition(".")[2] if path else None
