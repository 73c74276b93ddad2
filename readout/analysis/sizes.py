"""Representation sizes from a table of results."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from readout.common.errors import ReadoutError
from readout.representation import ROUNDING, Estimator, Flag, RepresentationSize, Verdict, representation_size

ROUNDING_BY_PRIOR = {"Pixels": 0.001}
"""Where d_X was seen to move by less than :data:`~readout.representation.ROUNDING`, with a prior's name."""

GROUP = ["model", "weights", "prior", "protocol", "setting", "layer", "sample"]


def sizes_table(results: pd.DataFrame, estimator: Estimator = Estimator.MAX) -> pd.DataFrame:
    """One row a (model, layer, sample), layers in the order in which the results list them.

    Args:
        results: One row a problem, as :func:`readout.load_results` gives them.
        estimator: Which one fills ``representation_size``; all three have a column of their own.

    Returns:
        Columns ``model, weights, prior, protocol, setting, layer, sample, feature_dim, input_dim,
        threshold, representation_size, estimator, levels_tested, flags, margin, max, contiguous, crossing``.
        ``flags`` are joined by ``;`` and belong to ``representation_size``, as does ``margin``.

    Raises:
        ReadoutError: if the results are of features that were given, which have no levels.
    """
    if results["level"].isna().any():
        raise ReadoutError("These results are of features that were given, which have no levels, and so no sizes.")
    rows = []
    for names, group in results.groupby(GROUP, sort=False):
        sizes = {kind: _size(group, kind) for kind in Estimator}
        first, margin = group.iloc[0], sizes[estimator].margin
        rows.append(
            {
                **dict(zip(GROUP, names, strict=True)),
                **{name: first[name] for name in ("feature_dim", "input_dim", "threshold")},
                "representation_size": sizes[estimator].size,
                "estimator": estimator.value,
                "levels_tested": group["level"].nunique(),
                "flags": ";".join(flag.value for flag in sizes[estimator].flags),
                "margin": margin if math.isfinite(margin) else math.nan,
                **{kind.value: size.size for kind, size in sizes.items()},
            }
        )
    return pd.DataFrame(rows)


def beside(estimator: str) -> str:
    """The estimator to show beside another: ``crossing``, whose sizes are not read off the grid, or ``max``."""
    return str(Estimator.MAX if estimator == Estimator.CROSSING else Estimator.CROSSING)


def at_common_levels(problems: pd.DataFrame) -> pd.DataFrame:
    """Problems of one layer at the levels that every sample was inverted at; a search leaves gaps elsewhere.

    A mean over those who happen to be there would say more of them than of the level.
    """
    if "reason" in problems:  # inputs that could be perturbed at no level would be missing from all
        perturbed = problems["reason"].isna().groupby(problems["sample"]).transform("any")
        problems = problems[perturbed]
    samples = problems.groupby("level")["sample"].transform("nunique")
    return problems[samples == problems["sample"].nunique()]


def lower_bounds(sizes: pd.DataFrame) -> pd.Series[bool]:
    """Which sizes are lower bounds: they rest on levels that say nothing, or on the highest one tested."""
    return flagged(sizes, Flag.RESTS_ON_NOT_CONVERGED, Flag.RESTS_ON_FAILED, Flag.CENSORED)


def flagged(sizes: pd.DataFrame, *flags: Flag) -> pd.Series[bool]:
    """Select the sizes that carry one of these flags."""
    return sizes["flags"].str.contains("|".join(flag.value for flag in flags))


def print_sizes(sizes: pd.DataFrame, results: pd.DataFrame, console: Console) -> None:
    """Print one line per layer: sizes by two estimators, mean d_X by level, and the number of inversions by verdict."""
    by_layer = [at_common_levels(group) for _, group in results.groupby("layer")]
    levels = sorted(pd.concat(by_layer)["level"].unique())
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
    """One line a layer, no cell of it cut."""
    verdicts = [kind for kind in Verdict if (results["verdict"] == kind.value).any()]
    threshold, estimator = results["threshold"].iloc[0], sizes["estimator"].iloc[0]
    other = beside(estimator)
    table = Table(
        title=f"Median representation size by layer, and mean d_X by level (recovered: d_X < {threshold:g})",
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
        values = layer_sizes["representation_size"]
        means = at_common_levels(group).groupby("level")["distance"].mean()
        table.add_row(
            Text(str(layer)),
            f"{_number(values.median())}{'*' if layer_sizes['flags'].any() else ' '}",
            _number(layer_sizes[other].median()),
            f"{_number(values.min())}–{_number(values.max())}" if values.notna().any() else "–",
            *(f"{means[level]:.3f}" if level in means else "–" for level in levels),
            *(str((group["verdict"] == kind.value).sum()) for kind in verdicts),
        )
    return table


def _short(estimator: str) -> str:
    """An estimator above a narrow column."""
    return {"crossing": "cross-\ning", "contiguous": "contig-\nuous"}.get(estimator, estimator)


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2f}"


def _width(table: Table) -> int:
    """Characters across that a table takes if nothing in it is cut."""
    return Console(width=1000).measure(table).maximum


def _spread(levels: Sequence[float], count: int) -> list[float]:
    """So many of them, the first and the last included, as evenly as it goes."""
    return [levels[round(place * (len(levels) - 1) / max(count - 1, 1))] for place in range(count)]


SHORT = {
    Verdict.RECOVERED: "re-\ncov-\nered",
    Verdict.UNRECOVERED: "un-\nrecov-\nered",
    Verdict.NOT_CONVERGED: "not\ncon-\nverged",
    Verdict.FAILED: "failed",
}
"""Verdicts above narrow columns."""

EXPLAINED = {
    Flag.RESTS_ON_NOT_CONVERGED: "above the size lies a level that did not converge, so it is a lower bound",
    Flag.RESTS_ON_FAILED: "above the size lies a level whose inversion failed, so it is a lower bound",
    Flag.CENSORED: "recovered at the highest level tested, so it is a lower bound",
    Flag.NON_MONOTONE: "a level below the size was lost",
    Flag.NEVER_RECOVERED: "recovered at no level tested",
    Flag.NO_CLEAN_LEVEL: "level 0 was not tested, so a loss may be the readout's",
    Flag.NEAR_THRESHOLD: "a d_X that decides it lies no further from the threshold than rounding moves it from machine "
    "to machine; compare crossing",
    Flag.UNDEFINED: "no feature of the input could be perturbed at the layer, so it has no size there",
}
"""Flags in words."""


def _size(group: pd.DataFrame, estimator: Estimator) -> RepresentationSize:
    return representation_size(
        levels=group["level"].tolist(),
        feature_distances=group["feature_distance"].tolist(),
        distances=group["distance"].tolist(),
        verdicts=[Verdict(value) for value in group["verdict"]],
        threshold=float(group["threshold"].iloc[0]),
        estimator=estimator,
        rounding=ROUNDING_BY_PRIOR.get(group["prior"].iloc[0], ROUNDING),
    )
