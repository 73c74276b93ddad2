"""Inputs drawn one by one, where there are too many to draw them all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

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
