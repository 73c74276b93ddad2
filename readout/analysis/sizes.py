"""Representation sizes from a table of results."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from readout.analysis.statistics import median
from readout.common.errors import ReadoutError
from readout.metrics import CorrelationDistance
from readout.representation import (
    ROUNDING,
    Estimator,
    Flag,
    Verdict,
    linear_size,
    representation_sizes,
)

ROUNDING_OF_A_PASS = 0.001
"""Change of d_S by rounding in one pass, which amplifies nothing."""

ROUNDING_BY_PRIOR = {"Pixels": 0.001}
"""Change of d_X by rounding for priors that amplify it less than :data:`~readout.representation.ROUNDING`."""

SIGNALS = {
    "class": ("true_class", "recovered_class"),
    "label": ("true_class", "recovered_class"),
    "candidate": ("sample", "recovered_sample"),
}
"""Signals in words, with the columns of the true and the recovered one."""

GROUP = ["model", "weights", "readout", "prior", "protocol", "setting", "layer", "sample"]

SHARED = ["weights_digest", "feature_dim", "input_dim", "metric", "threshold"]
"""Columns of results that are equal within a group."""


def sizes_table(results: pd.DataFrame, estimator: Estimator = Estimator.MAX) -> pd.DataFrame:
    """Return one row per (model, layer, sample), with layers in the order of the results.

    Args:
        results: One row per problem, as :func:`readout.load_results` returns.
        estimator: Estimator behind ``representation_size``; each of the three also has its own column.

    Returns:
        :data:`GROUP` and :data:`SHARED`, then ``signal, representation_size, estimator, levels_tested, flags, margin,
        linear_size, max, contiguous, crossing``. ``signal`` is what was read, in one word. ``flags`` are joined by
        ``;`` and belong to ``representation_size``, as does ``margin``. ``linear_size`` is the size in closed form at
        D/d, with d the input's dimension; NaN if d_X is no correlation distance.

    Raises:
        ReadoutError: if the results are of external features, which have no levels.

    Examples:
        >>> same = dict.fromkeys([*GROUP, *SHARED], "") | {"layer": "fc", "sample": "cat", "threshold": 0.1}
        >>> moved, missed = [0.0, 0.3, 0.6], [0.01, 0.04, 0.16]
        >>> problems = pd.DataFrame(same | {"level": moved, "feature_distance": moved, "distance": missed})
        >>> problems["verdict"] = ["recovered", "recovered", "unrecovered"]
        >>> sizes_table(problems)[["layer", "sample", "representation_size", "crossing"]]
          layer sample  representation_size  crossing
        0    fc    cat                  0.3      0.45
    """
    if results["level"].isna().any():
        raise ReadoutError("These results are of external features, which have no levels and therefore no sizes.")
    group = results.groupby(GROUP, sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    shared = results.assign(signal=results.get("signal", "input")).iloc[first][[*GROUP, *SHARED, "signal"]]
    sizes = representation_sizes(
        group,
        results["level"],
        results["feature_distance"],
        results["distance"],
        results["verdict"].tolist(),
        shared["threshold"],
        estimator,
        _rounding(shared),
    )
    carried = zip(*(mask.tolist() for mask in sizes.flags.values()), strict=True)
    return (
        shared.reset_index(drop=True)
        .infer_objects()
        .assign(
            representation_size=sizes.by_estimator[estimator],
            estimator=estimator.value,
            levels_tested=results["level"].groupby(group).nunique(),
            flags=[";".join(itertools.compress(sizes.flags, each)) for each in carried],
            margin=np.where(np.isfinite(sizes.margin), sizes.margin, math.nan),
            linear_size=[size_if_linear(row, row["input_dim"]) for row in shared.to_dict("records")],
            **{each.value: size for each, size in sizes.by_estimator.items()},
        )
    )


def size_if_linear(row: Mapping[Any, Any] | pd.Series[Any], dimension: float) -> float:
    """Return :func:`readout.representation.linear_size` for a row with ``metric``, ``threshold`` and ``feature_dim``.

    Args:
        row: Of results or sizes.
        dimension: d.

    Returns:
        NaN if d_X is no correlation distance.
    """
    closed = row["metric"] == CorrelationDistance.name and row["threshold"] < 1 and dimension > 0
    return linear_size(row["threshold"], row["feature_dim"] / dimension) if closed else math.nan


def signal_of(results: pd.DataFrame) -> str:
    """Return the kind of signal that was read; see :attr:`readout.readouts.Readout.signal_kind`."""
    return str(results["signal"].iloc[0]) if "signal" in results else "input"


def symbol_of(*tables: pd.DataFrame) -> str:
    """Return the symbol of the distance in results: ``d_X`` if all signals are inputs, otherwise ``d_S``."""
    return "d_X" if {signal_of(table) for table in tables} == {"input"} else "d_S"


def reader_of(results: pd.DataFrame) -> str:
    """Return the name of the readout: of its prior or, without one, of its class."""
    first = results.iloc[0]
    return str(first["readout"] if pd.isna(first["prior"]) else first["prior"])


def beside(estimator: str) -> str:
    """Return the estimator to show beside another: ``crossing``, which interpolates between levels, or else ``max``."""
    return str(Estimator.MAX if estimator == Estimator.CROSSING else Estimator.CROSSING)


def at_common_levels(problems: pd.DataFrame) -> pd.DataFrame:
    """Select the problems of one layer at levels where every sample was inverted; a search leaves gaps elsewhere.

    A mean over a level with gaps would reflect its samples more than the level.
    """
    if "reason" in problems:  # inputs that could not be perturbed at all would empty every level
        perturbed = problems["reason"].isna().groupby(problems["sample"]).transform("any")
        problems = problems[perturbed]
    samples = problems.groupby("level")["sample"].transform("nunique")
    return problems[samples == problems["sample"].nunique()]


def lower_bounds(sizes: pd.DataFrame) -> pd.Series[bool]:
    """Select lower bounds: sizes with an inconclusive level above them, or at the highest level tested."""
    return flagged(sizes, Flag.RESTS_ON_NOT_CONVERGED, Flag.RESTS_ON_FAILED, Flag.CENSORED)


def flagged(sizes: pd.DataFrame, *flags: Flag) -> pd.Series[bool]:
    """Select the sizes that carry one of these flags."""
    return sizes["flags"].str.contains("|".join(flag.value for flag in flags))


def print_sizes(sizes: pd.DataFrame, results: pd.DataFrame, console: Console) -> None:
    """Print one line per layer: sizes by two estimators, mean d_X by level, and the number of inversions by verdict."""
    by_layer = results.groupby("layer")
    levels = sorted({level for _, group in by_layer for level in at_common_levels(group)["level"].unique()})
    shown = len(levels)
    while shown > 2 and _width(_printed(sizes, results, _spread(levels, shown))) > console.width:
        shown -= 1
    console.print(_printed(sizes, results, _spread(levels, shown)))
    if shown < len(levels):
        console.print(f"{shown} of {len(levels)} levels, as many as fit here; the report has all", highlight=False)
    for flag in Flag:
        marked = sizes[flagged(sizes, flag)]
        if not marked.empty:
            layers = marked["layer"].unique()
            where = f", at {', '.join(layers)}" if len(layers) < sizes["layer"].nunique() else ""
            said = f"* {flag.value} ({len(marked)} of {len(sizes)} sizes{where}): {EXPLAINED[flag]}"
            console.print(said, highlight=False, markup=False)


def _printed(sizes: pd.DataFrame, results: pd.DataFrame, levels: Sequence[float]) -> Table:
    """Return a table with one line per layer and no cell cut."""
    verdicts = [kind for kind in Verdict if (results["verdict"] == kind.value).any()]
    threshold, estimator = results["threshold"].iloc[0], sizes["estimator"].iloc[0]
    distance = symbol_of(sizes)
    other = beside(estimator)
    table = Table(
        title=f"Median representation size by layer, and mean {distance} by level "
        f"(recovered: {distance} < {threshold:g})",
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0,
    )
    names = [f"{_short(estimator)} ", _short(other), "range", *(f"c={level:g}" for level in levels)]
    names += [SHORT[kind] for kind in verdicts]
    table.add_column("layer", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for layer, group in results.groupby("layer", sort=False):
        layer_sizes = sizes[sizes["layer"] == layer]
        values = layer_sizes["representation_size"].dropna()
        means = at_common_levels(group).groupby("level")["distance"].mean()
        table.add_row(
            Text(str(layer)),
            f"{_number(values.median())}{'*' if layer_sizes['flags'].any() else ' '}",
            _number(median(layer_sizes[other])),
            f"{_number(values.min())}–{_number(values.max())}" if len(values) else "–",
            *(f"{means[level]:.3f}" if level in means else "–" for level in levels),
            *(str((group["verdict"] == kind.value).sum()) for kind in verdicts),
        )
    return table


def _short(estimator: str) -> str:
    """Break the name of an estimator for a narrow column."""
    return {"crossing": "cross-\ning", "contiguous": "contig-\nuous"}.get(estimator, estimator)


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"


def _width(table: Table) -> int:
    """Return the width in characters of a table with no cell cut."""
    return Console(width=1000).measure(table).maximum


def _spread(levels: Sequence[float], count: int) -> list[float]:
    """Pick ``count`` levels as evenly as possible, including the first and the last."""
    return [levels[round(place * (len(levels) - 1) / max(count - 1, 1))] for place in range(count)]


SHORT = {
    Verdict.RECOVERED: "re-\ncov-\nered",
    Verdict.UNRECOVERED: "un-\nrecov-\nered",
    Verdict.NOT_CONVERGED: "not\ncon-\nverged",
    Verdict.FAILED: "failed",
}
"""Verdicts above narrow columns."""

EXPLAINED = {
    Flag.RESTS_ON_NOT_CONVERGED: "a level above the size did not converge, so the size is a lower bound",
    Flag.RESTS_ON_FAILED: "a level above the size failed, so the size is a lower bound",
    Flag.CENSORED: "recovered at the highest level tested, so the size is a lower bound",
    Flag.NON_MONOTONE: "a level below the size was unrecovered",
    Flag.NEVER_RECOVERED: "recovered at no level tested",
    Flag.NO_CLEAN_LEVEL: "level 0 was not tested, so the readout itself may have failed",
    Flag.NEAR_THRESHOLD: "rounding may move a deciding d_X across the threshold on another machine; compare crossing",
    Flag.UNDEFINED: "the input's feature at this layer could not be perturbed, so there is no size",
}
"""Flags in words."""


def _rounding(shared: pd.DataFrame) -> NDArray[Any]:
    """Return how much rounding changes a distance of each group, as a share of t."""
    iterative = shared["prior"].map(ROUNDING_BY_PRIOR).fillna(ROUNDING)
    return np.where(shared["protocol"].notna(), iterative, ROUNDING_OF_A_PASS)
