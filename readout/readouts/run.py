"""Reading of a batch of problems: one run, then restarts of those whose prior died."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.common.padding import pad, unpad
from readout.perturbations import Perturbation
from readout.problems import Problem
from readout.readouts.base import Readout
from readout.readouts.batch import Outcome, ProblemBatch
from readout.readouts.inversion.resuming import Attempt
from readout.readouts.trajectory import Trajectory

Row = dict[str, Any]

CURVES = ("loss", "distance", "recovered_feature_distance")
"""Quantities in a trajectory."""


def read(
    readout: Readout,
    problems: Sequence[Problem],
    inputs: Mapping[str, Tensor],
    perturbation: Perturbation,
    run: Callable[[Readout], None],
    attempt: Attempt | None = None,
) -> tuple[list[Row], list[Tensor]]:
    """Read the signals of a batch of problems; dead ones restart, at most ``readout.max_restarts`` times.

    A restart is a complete run from a fresh seed, so it does not depend on the rest of the batch. A problem without a
    target, such as one with a constant feature, gets the reason in its row.

    Args:
        readout: The readout.
        problems: Problems of one layer.
        inputs: True inputs by sample name.
        perturbation: Rule that moves features.
        run: Function that runs the readout with a Trainer.
        attempt: Earlier progress of this batch, updated in place; default: none.

    Returns:
        One row per problem (without verdict), and the recovered signals, empty for problems without a target.

    Raises:
        ReadoutError: if anything but the readout ended the run.
    """
    attempt = attempt or Attempt.fresh(len(problems))
    rows, recovered = attempt.rows, attempt.recovered
    while attempt.todo and attempt.restart <= readout.max_restarts:
        todo, restart = attempt.todo, attempt.restart
        again = [problems[index] for index in todo]
        readout.load(make_batch(again, inputs, perturbation, restart))
        run(readout)
        outcome = readout.outcome
        if outcome is None or not outcome.complete:
            raise ReadoutError(
                "The fit ended before its last step, so this batch was discarded; remove whatever ends fits early "
                "(max_time, max_epochs, limit_train_batches, an early-stopping callback)."
            )
        curves = _curves(outcome.trajectory, len(todo))
        for place, index in enumerate(todo):
            true = inputs[problems[index].sample]
            seconds = rows[index].get("seconds", 0.0) + outcome.seconds / len(todo)
            rows[index] = _row(problems[index], outcome, curves, place) | {"restarts": restart, "seconds": seconds}
            rows[index] |= {"input_dim": true.numel()}
            if place in outcome.reasons:
                rows[index] |= {"reason": outcome.reasons[place]}
                continue
            recovered[index] = unpad(outcome.recovered[place])
            rows[index] |= readout.describe_recovered(place, recovered[index])
        attempt.todo = [i for place, i in enumerate(todo) if outcome.dead[place] and place not in outcome.reasons]
        attempt.restart += 1
    return rows, recovered


def inputs_of(
    problems: Iterable[Problem], inputs: Mapping[str, Tensor], perturbation: Perturbation
) -> dict[str, Tensor]:
    """Load what a batch needs, each input once: those of its problems, and :meth:`Perturbation.others`."""
    samples = dict.fromkeys(problem.sample for problem in problems)
    others = dict.fromkeys(other for sample in samples for other in perturbation.others(sample))
    return {sample: inputs[sample] for sample in {**samples, **others}}


def make_batch(
    problems: Sequence[Problem], inputs: Mapping[str, Tensor], perturbation: Perturbation, restart: int = 0
) -> ProblemBatch:
    """Build the batch for problems of one layer."""
    loaded = inputs_of(problems, inputs, perturbation)
    return ProblemBatch(
        inputs=pad([loaded[problem.sample] for problem in problems]),
        names=[problem.sample for problem in problems],
        layer=problems[0].layer,
        levels=torch.tensor([problem.level for problem in problems], dtype=torch.float64),
        noise_seeds=[problem.noise_seed for problem in problems],
        prior_seeds=[problem.prior_seed(restart) for problem in problems],
        perturbation=perturbation,
        others={other: loaded[other] for problem in problems for other in perturbation.others(problem.sample)},
    )


def readout_columns(readout: Readout, fingerprint: str) -> dict[str, Any]:
    """Return the columns that name the readout in every row of results.

    Args:
        readout: The readout.
        fingerprint: Fingerprint of its extractor.
    """
    return {
        "model": readout.extractor.name,
        "weights": readout.extractor.weights_name,
        "weights_digest": fingerprint[:16],
        "readout": type(readout).__name__,
        "prior": readout.prior_name,
        "protocol": readout.protocol_name,
        "signal": readout.signal_kind,
        "metric": readout.metric.name,
        **({} if readout.denoiser is None else {"denoiser": type(readout.denoiser.coder).__name__}),
        **readout.columns(),
    }


def _curves(trajectory: Trajectory, problems: int) -> dict[str, Tensor]:
    """Return the recorded quantities by column name, shape (recorded steps, problems)."""
    none = torch.empty(0, problems)  # of a readout in one pass
    return {f"trajectory_{name}": trajectory.stacked(name) if trajectory.steps else none for name in CURVES}


def _row(problem: Problem, outcome: Outcome, curves: Mapping[str, Tensor], place: int) -> Row:
    scores = ("distance", "feature_distance", "recovered_feature_distance", "loss", "floor", "scale")
    known = math.nan if place in outcome.reasons else 1.0
    scored = {name: known * float(getattr(outcome, name)[place]) for name in scores}
    recorded = ~curves["trajectory_loss"][:, place].isnan() & (place not in outcome.reasons)
    steps = torch.tensor(outcome.trajectory.steps)[recorded].tolist()
    trajectory = {column: values[recorded, place].tolist() for column, values in curves.items()}
    if steps and outcome.steps[place] > steps[-1] and math.isfinite(scored["loss"]):
        # the protocol may stop a problem between two records: end its curves with the scored iterate
        steps.append(int(outcome.steps[place]))
        for name in CURVES:
            trajectory[f"trajectory_{name}"].append(scored[name])
    return {
        "layer": problem.layer,
        "sample": problem.sample,
        "level": problem.level,
        "draw": problem.draw,
        "reading": problem.reading,
        "seed": problem.seed,
        "setting": problem.setting,
        "key": problem.key,
        **scored,
        **{name: known * float(values[place]) for name, values in outcome.metrics.items()},
        "best_distance": known * float(outcome.best_distance[place]),
        "best_step": int(outcome.best_step[place]),
        "steps": int(outcome.steps[place]),
        "dead": bool(outcome.dead[place]),
        "feature_dim": int(outcome.feature_dim[place]),
        "trajectory_step": steps,
        **trajectory,
    }
