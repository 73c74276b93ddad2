"""Representation sizes from a table of results."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.table import Table

from readout.representation import Estimator, Flag, RepresentationSize, Verdict, representation_size

GROUP = ["model", "weights", "prior", "protocol", "setting", "layer", "sample"]


def sizes_table(results: pd.DataFrame, estimator: Estimator = Estimator.MAX) -> pd.DataFrame:
    """One row a (model, layer, sample), layers in the order in which the results list them.

    Args:
        results: One row a problem, as :func:`readout.load_results` gives them.
        estimator: Which one fills ``representation_size``; all three have a column of their own.

    Returns:
        Columns ``model, weights, prior, protocol, setting, layer, sample, feature_dim, input_dim,
        threshold, representation_size, estimator, levels_tested, flags, max, contiguous, crossing``.
        ``flags`` are joined by ``;`` and belong to ``representation_size``.
    """
    rows = []
    for names, group in results.groupby(GROUP, sort=False):
        sizes = {kind: _size(group, kind) for kind in Estimator}
        first = group.iloc[0]
        rows.append(
            {
                **dict(zip(GROUP, names, strict=True)),
                **{name: first[name] for name in ("feature_dim", "input_dim", "threshold")},
                "representation_size": sizes[estimator].size,
                "estimator": estimator.value,
                "levels_tested": group["level"].nunique(),
                "flags": ";".join(flag.value for flag in sizes[estimator].flags),
                **{kind.value: size.size for kind, size in sizes.items()},
            }
        )
    return pd.DataFrame(rows)


def at_common_levels(problems: pd.DataFrame) -> pd.DataFrame:
    """Problems of one layer at the levels that every sample was inverted at; a search leaves gaps elsewhere.

    A mean over those who happen to be there would say more of them than of the level.
    """
    samples = problems.groupby("level")["sample"].transform("nunique")
    return problems[samples == problems["sample"].nunique()]


def lower_bounds(sizes: pd.DataFrame) -> pd.Series[bool]:
    """Which sizes are lower bounds: they rest on levels that say nothing, or on the highest one tested."""
    flags = (Flag.RESTS_ON_NOT_CONVERGED, Flag.RESTS_ON_FAILED, Flag.CENSORED)
    return sizes["flags"].str.contains("|".join(flag.value for flag in flags))


def print_sizes(sizes: pd.DataFrame, results: pd.DataFrame, console: Console) -> None:
    """Print one line a layer: sizes, mean d_X by level, and how many inversions got which verdict."""
    levels = sorted(results["level"].unique())
    verdicts = [kind for kind in Verdict if (results["verdict"] == kind.value).any()]
    threshold = results["threshold"].iloc[0]
    table = Table(
        title=f"Representation size by layer, and mean d_X by level (recovered: d_X < {threshold:g})",
        title_justify="left",
    )
    table.add_column("layer")
    table.add_column("median size", justify="right")
    table.add_column("range", justify="right")
    for level in levels:
        table.add_column(f"c={level:g}", justify="right")
    for kind in verdicts:
        table.add_column(kind.value.replace("_", " "), justify="right")
    for layer, group in results.groupby("layer", sort=False):
        layer_sizes = sizes[sizes["layer"] == layer]
        values = layer_sizes["representation_size"]
        means = at_common_levels(group).groupby("level")["distance"].mean()
        table.add_row(
            str(layer),
            f"{values.median():.2f}{'*' if layer_sizes['flags'].any() else ' '}",
            f"{values.min():.2f}–{values.max():.2f}",
            *(f"{means[level]:.3f}" if level in means else "–" for level in levels),
            *(str((group["verdict"] == kind.value).sum()) for kind in verdicts),
        )
    console.print(table)
    for flag in Flag:
        count = int(sizes["flags"].str.split(";").apply(lambda flags, name=flag.value: name in flags).sum())
        if count:
            console.print(f"* {flag.value} ({count} of {len(sizes)} sizes): {EXPLAINED[flag]}", highlight=False)


EXPLAINED = {
    Flag.RESTS_ON_NOT_CONVERGED: "above the size lies a level that did not converge, so it is a lower bound",
    Flag.RESTS_ON_FAILED: "above the size lies a level whose inversion failed, so it is a lower bound",
    Flag.CENSORED: "recovered at the highest level tested, so it is a lower bound",
    Flag.NON_MONOTONE: "a level below the size was lost",
    Flag.NEVER_RECOVERED: "recovered at no level tested",
    Flag.NO_CLEAN_LEVEL: "level 0 was not tested, so a loss may be the readout's",
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
    )
