"""Inputs drawn one by one, where there are too many to draw them all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from readout.store import ResultStore

MOST_DRAWN = 10_000
"""Largest number of problems that a page or figure draws one by one; means, medians and counts are over all."""


def drawn_inputs(results: Sequence[pd.DataFrame], first: Sequence[str] = ()) -> list[str]:
    """Choose inputs to draw one by one: all, or as many as :data:`MOST_DRAWN` allows, at least one.

    The choice is random, but the same every time.

    Args:
        results: Tables with one row per problem.
        first: Names of inputs to draw in any case.

    Examples:
        >>> drawn_inputs([pd.DataFrame({"sample": ["cat", "cat", "dog"]})])
        ['cat', 'dog']
    """
    counts = pd.concat([table["sample"].value_counts(sort=False) for table in results])
    counts = counts.groupby(level=0, sort=False).sum()
    if counts.sum() <= MOST_DRAWN:
        return [str(name) for name in counts.index]
    others = np.random.default_rng(0).permutation(sorted({*counts.index} - {*first}))
    chosen = [*first, *others.tolist()]
    fit = int((counts[chosen].cumsum() <= MOST_DRAWN).sum())
    return chosen[: max(1, len(first), fit)]


def with_trajectories(problems: pd.DataFrame, store: ResultStore, column: str) -> pd.DataFrame:
    """Add the recorded steps and the values at them, unless the table holds them already.

    Args:
        problems: One row per problem.
        store: The output folder.
        column: One of :data:`readout.store.TRAJECTORY`.

    Raises:
        ReadoutError: if a part can't be read.
    """
    columns = ["trajectory_step", column]
    if {*columns} <= {*problems}:
        return problems
    return problems.merge(store.load(columns=["key", *columns], keys=set(problems["key"])), on="key")
