"""Facts: the plain values by which runs are searched and compared in a logger."""

from readout.callbacks.dashboard import Dashboard, Facts
from readout.readouts.run import readout_columns
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
    readout, shapes = driver.readout, driver.shapes
    described = driver.setting.readout if readout.automatic_optimization else {}  # a search has no optimiser
    optimizer, schedule = (described.get(part) or {} for part in ("optimizer", "lr_schedule"))
    facts = {
        **readout_columns(readout, driver.setting.network),
        "optimizer": _short(optimizer.get("class")),
        "lr": optimizer.get("lr"),
        "lr_schedule": _short(schedule.get("class")),
        "loss": type(readout.loss).__name__ if readout.loss else None,
        "inputs": len(shapes),
        "input_shape": "×".join(map(str, next(iter(shapes.values())).shape)),
        "seed": runtime.seed,
        "setting": driver.setting.digest,
        "readout_version": __version__,
        **judgement,
        **more,
        "steps": plan.steps,
        "precision": driver.setting.precision,
        "output": str(plan.output),
        "sweep": f"{plan.output.name}-{driver.setting.digest[:6]}",
    }
    return Dashboard(runtime.loggers, runtime.callbacks, runtime.config, store, facts, judgement)


def _short(path: object) -> str | None:
    """Return the last part of an import path."""
    return str(path).rpartition(".")[2] if path else None
