"""Search: levels to invert next, by grid or bisection."""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Literal, NamedTuple

import pandas as pd

from readout.problems.problem import Problem
from readout.representation import Verdict

Search = Literal["grid", "bisection"]
"""Method that finds the largest recovered level: all levels, or bisection."""


class Found:
    """Results of one layer as far as a search needs them, kept in memory as they come.

    Args:
        results: Results so far, one row per problem, with verdicts.
    """

    def __init__(self, results: pd.DataFrame | None = None) -> None:
        self.keys: set[str] = set()
        self._recovered: dict[str, dict[float, list[bool]]] = {}
        self._searched: Searched | None = None
        if results is not None:
            self.add(results)

    def add(self, results: pd.DataFrame) -> None:
        """Add results."""
        columns = (results[name].tolist() for name in ("key", "sample", "level", "verdict"))
        for key, sample, level, verdict in zip(*columns, strict=True):
            if key not in self.keys:
                self.keys.add(key)
                recovered = self._recovered.setdefault(sample, {}).setdefault(float(level), [])
                recovered.append(verdict == Verdict.RECOVERED.value)

    def levels(self, sample: str, repeats: int) -> dict[float, bool]:
        """Tell by level whether an input was recovered, at levels whose draws and readings are all done.

        Args:
            sample: Name of the input.
            repeats: Problems per level, draws × readings; a level counts as recovered if all of them are.
        """
        known = self._recovered.get(sample, {})
        return {level: all(recovered) for level, recovered in known.items() if len(recovered) == repeats}

    def wanted_levels(self, problems: Sequence[Problem]) -> dict[str, list[float]]:
        """Return the levels that a bisection wants next, by input; inputs whose size is known are left out.

        Args:
            problems: All problems of the layer, always the same.
        """
        if self._searched is None:
            self._searched = Searched(
                levels=sorted(set(map(attrgetter("level"), problems))),
                repeats=len(set(map(attrgetter("draw", "reading"), problems))),
                samples=list(dict.fromkeys(map(attrgetter("sample"), problems))),
            )
        levels, repeats, samples = self._searched
        found = ((sample, next_levels(levels, self.levels(sample, repeats))) for sample in samples)
        wanted = {sample: next_ones for sample, next_ones in found if next_ones}
        self._searched = self._searched._replace(samples=list(wanted))  # no more results come for the others
        return wanted


class Searched(NamedTuple):
    """Levels and inputs that the problems of a layer cross, found out once."""

    levels: list[float]
    repeats: int
    """Problems per level, draws × readings."""
    samples: list[str]
    """Inputs whose size is not known yet."""


def wanted_now(problems: Sequence[Problem], found: Found, search: Search) -> list[Problem]:
    """Return the problems of one layer to invert next; none once every size is known.

    Args:
        problems: All problems of the layer.
        found: Their results so far.
        search: ``grid`` for all problems that are left, ``bisection`` for those at :func:`next_levels` of each sample.
    """
    if search == "grid":
        return [problem for problem in problems if problem.key not in found.keys]
    wanted = found.wanted_levels(problems)
    return [each for each in problems if each.level in wanted.get(each.sample, ()) and each.key not in found.keys]


def next_levels(levels: Sequence[float], recovered: Mapping[float, bool]) -> list[float]:
    """Return the levels to invert next in a bisection for the largest recovered level.

    Bisection assumes that an input recovered at one level is recovered at every lower level. The levels it visits test
    that, one of them above the first lost level if there is one; if the assumption fails, all levels are inverted.

    Args:
        levels: All levels, ascending.
        recovered: Whether the input was recovered, by level inverted so far.

    Returns:
        Levels not inverted yet; none once the size is known.

    Examples:
        >>> levels = [0, 0.2, 0.4, 0.6, 0.8]
        >>> next_levels(levels, {})
        [0, 0.4]
        >>> next_levels(levels, {0: True, 0.4: True})
        [0.6]
        >>> next_levels(levels, {0: True, 0.4: True, 0.6: False, 0.8: False})
        []
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
    """Return the largest number of levels that bisection inverts if recovery is monotone."""
    return max(_cost(levels, boundary) for boundary in range(len(levels) + 1))


def _cost(levels: Sequence[float], boundary: int) -> int:
    """Count the levels inverted if the first ``boundary`` levels are those recovered."""
    recovered: dict[float, bool] = {}
    while wanted := next_levels(levels, recovered):
        recovered |= {level: levels.index(level) < boundary for level in wanted}
    return len(recovered)
