"""Which levels to invert next, so that a size is known from a few of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import pandas as pd

from readout.problems.problem import Problem
from readout.representation import Verdict

Search = Literal["grid", "bisection"]
"""How the largest recovered level is looked for."""


def wanted_now(problems: Sequence[Problem], results: pd.DataFrame, search: Search) -> list[Problem]:
    """Problems of one layer to invert next; none once every size is known.

    Args:
        problems: All of the layer.
        results: What is known of them, one row a problem.
        search: ``grid`` for all that is left, ``bisection`` for what :func:`next_levels` says of each sample.
    """
    finished = set(results["key"])
    left = [problem for problem in problems if problem.key not in finished]
    if search == "grid":
        return left
    levels = sorted({problem.level for problem in problems})
    known = recovered_levels(results, draws=len({problem.draw for problem in problems}))
    samples = dict.fromkeys(problem.sample for problem in problems)
    wanted = {sample: next_levels(levels, known.get(sample, {})) for sample in samples}
    return [problem for problem in left if problem.level in wanted[problem.sample]]


def next_levels(levels: Sequence[float], recovered: Mapping[float, bool]) -> list[float]:
    """Levels whose inversion comes next when the largest recovered one is found by bisection.

    Bisection takes for granted that whatever is recovered at one level is recovered at every lower one. That is
    checked at the levels it comes by, of which one at least lies above the first lost one, if there is any; where it
    does not hold, every level is wanted.

    Args:
        levels: All levels, ascending.
        recovered: Whether the input was recovered, by level inverted so far.

    Returns:
        Levels not inverted yet; none once the size is known.
    """
    untested = [level for level in levels if level not in recovered]
    best = max((place for place, level in enumerate(levels) if recovered.get(level)), default=-1)
    lost = [place for place, level in enumerate(levels) if recovered.get(level) is False]
    if lost and lost[0] < best:
        return untested
    if levels[0] in untested:
        return [level for level in dict.fromkeys((levels[0], levels[len(levels) // 2])) if level in untested]
    first = lost[0] if lost else len(levels)
    if first - best > 1:
        return [levels[(first + best) // 2]]
    if len(lost) == 1 and first + 1 < len(levels):
        return [levels[first + 1]]
    return []


def most_levels(levels: Sequence[float]) -> int:
    """How many levels bisection inverts at most while recovery is monotone."""
    return max(_cost(levels, boundary) for boundary in range(len(levels) + 1))


def recovered_levels(results: pd.DataFrame, draws: int) -> dict[str, dict[float, bool]]:
    """Whether each sample was recovered at each level whose draws are all done.

    Args:
        results: One row a problem, of one layer.
        draws: Noise draws a level; a level counts as recovered when all of them are.
    """
    found: dict[str, dict[float, bool]] = {}
    for sample, rows in results.groupby("sample"):
        by_level = rows.assign(recovered=rows["verdict"] == Verdict.RECOVERED.value).groupby("level")
        complete = by_level["draw"].nunique() == draws
        recovered = by_level["recovered"].all()[complete]
        found[str(sample)] = dict(zip(recovered.index.astype(float), recovered.astype(bool), strict=True))
    return found


def _cost(levels: Sequence[float], boundary: int) -> int:
    """Levels inverted when the first ``boundary`` of them are recovered."""
    recovered: dict[float, bool] = {}
    while wanted := next_levels(levels, recovered):
        recovered |= _answers(levels, boundary, wanted)
    return len(recovered)


def _answers(levels: Sequence[float], boundary: int, wanted: Iterable[float]) -> dict[float, bool]:
    return {level: levels.index(level) < boundary for level in wanted}
