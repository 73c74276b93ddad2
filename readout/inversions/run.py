"""Inversion of a batch of problems: one fit, then restarts of those whose prior died."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from readout.common.errors import ReadoutError
from readout.common.padding import pad, unpad
from readout.inversions.base import FeatureInversion
from readout.inversions.batch import Outcome, ProblemBatch
from readout.inversions.resuming import Attempt
from readout.inversions.trajectory import Trajectory
from readout.perturbations import Perturbation
from readout.problems import Problem

Row = dict[str, Any]

CURVES = ("loss", "distance", "recovered_feature_distance")
"""Quantities in a trajectory."""


def invert(
    inversion: FeatureInversion,
    problems: Sequence[Problem],
    inputs: Mapping[str, Tensor],
    perturbation: Perturbation,
    fit: Callable[[FeatureInversion], None],
    attempt: Attempt | None = None,
) -> tuple[list[Row], list[Tensor]]:
    """Invert a batch of problems; dead ones restart, at most ``inversion.max_restarts`` times.

    A restart is a complete run from a fresh seed, so it does not depend on the rest of the batch. A problem without a
    target, such as one with a constant feature, gets the reason in its row.

    Args:
        inversion: Inversion to run.
        problems: Problems of one layer.
        inputs: True inputs by sample name.
        perturbation: Rule that moves features.
        fit: Function that runs ``Trainer.fit`` on the inversion.
        attempt: Earlier progress of this batch, updated in place; default: none.

    Returns:
        One row per problem (without verdict), and the recovered inputs, empty for problems without a target.

    Raises:
        ReadoutError: if anything but the protocol ended the fit.
    """
    attempt = attempt or Attempt.fresh(len(problems))
    rows, recovered = attempt.rows, attempt.recovered
    while attempt.todo and attempt.restart <= inversion.max_restarts:
        todo, restart = attempt.todo, attempt.restart
        again = [problems[index] for index in todo]
        inversion.load(make_batch(again, inputs, perturbation, restart))
        fit(inversion)
        outcome = inversion.outcome
        if outcome is None or not outcome.complete:
            raise ReadoutError(
                "The fit ended before its last step, so this batch was discarded; remove whatever ends fits early "
                "(max_time, max_epochs, limit_train_batches, an early-stopping callback)."
            )
        curves = _curves(outcome.trajectory)
        for place, index in enumerate(todo):
            true = inputs[problems[index].sample]
            seconds = rows[index].get("seconds", 0.0) + outcome.seconds / len(todo)
            rows[index] = _row(problems[index], outcome, curves, place) | {"restarts": restart, "seconds": seconds}
            rows[index] |= {"input_dim": true.numel()}
            if place in outcome.reasons:
                rows[index] |= {"reason": outcome.reasons[place]}
                continue
            recovered[index] = unpad(outcome.recovered[place])
            rows[index] |= inversion.describe_recovered(true, recovered[index])
        attempt.todo = [i for place, i in enumerate(todo) if outcome.dead[place] and place not in outcome.reasons]
        attempt.restart += 1
    return rows, recovered


def make_batch(
    problems: Sequence[Problem], inputs: Mapping[str, Tensor], perturbation: Perturbation, restart: int = 0
) -> ProblemBatch:
    """Build the batch for problems of one layer."""
    return ProblemBatch(
        inputs=pad([inputs[problem.sample] for problem in problems]),
        layer=problems[0].layer,
        levels=torch.tensor([problem.level for problem in problems], dtype=torch.float64),
        noise_seeds=[problem.noise_seed for problem in problems],
        prior_seeds=[problem.prior_seed(restart) for problem in problems],
        perturbation=perturbation,
    )


def readout_columns(inversion: FeatureInversion, fingerprint: str) -> dict[str, str]:
    """Return the columns that name the readout in every row of results.

    Args:
        inversion: Inversion of the readout.
        fingerprint: Fingerprint of its extractor.
    """
    return {
        "model": inversion.extractor.name,
        "weights": inversion.extractor.weights_name,
        "weights_digest": fingerprint[:16],
        "prior": type(inversion.prior).__name__,
        "protocol": inversion.protocol.name,
        "metric": inversion.metric.name,
    }


def _curves(trajectory: Trajectory) -> dict[str, Tensor]:
    """Return the recorded quantities by column name, shape (recorded steps, problems)."""
    return {f"trajectory_{name}": trajectory.stacked(name) for name in CURVES}


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
