"""Rows of the page's tables."""

import math
from typing import Any

import pandas as pd

from readout.analysis.outputs import Output
from readout.analysis.sizes import at_common_levels, beside, size_if_linear
from readout.analysis.statistics import bootstrap_interval, median
from readout.representation import Verdict


def layer_rows(output: Output) -> list[dict[str, Any]]:
    """Return sizes by layer, with their median by the other estimator, and mean d_X by level."""
    rows = []
    for layer, group in output.sizes.groupby("layer", sort=False):
        problems = output.results[output.results["layer"] == layer]
        values = group["representation_size"].dropna()
        flags = [flag for flags in group["flags"] for flag in flags.split(";") if flag]
        rows.append(
            {
                "layer": layer,
                "dimension": int(group["feature_dim"].iloc[0]),
                "ratio": group["feature_dim"].iloc[0] / group["input_dim"].iloc[0],
                "median": values.median(),
                "beside": median(group[beside(group["estimator"].iloc[0])]),
                "mean": bootstrap_interval(values),
                "low": values.min(),
                "high": values.max(),
                "linear": group["linear_size"].iloc[0],
                "measured": _measured(output, str(layer), group.iloc[0]),
                "flags": {flag: flags.count(flag) for flag in dict.fromkeys(flags)},
                "distances": at_common_levels(problems).groupby("level")["distance"].mean().to_dict(),
            }
        )
    return rows


def _measured(output: Output, layer: str, row: "pd.Series[Any]") -> float:
    """Return the size in closed form at the measured dimension, the median over inputs; NaN if it was not measured."""
    known = output.predictions
    if "participation_ratio" not in known:
        return math.nan
    of_layer = known[known["layer"] == layer].drop_duplicates("sample")["participation_ratio"]
    return median([size_if_linear(row, dimension) for dimension in of_layer])


def verdict_rows(output: Output) -> list[dict[str, Any]]:
    """Count inversions by layer, level and verdict."""
    rows = []
    for layer, group in output.results.groupby("layer", sort=False):
        counts = pd.crosstab(group["level"], group["verdict"]).reindex(
            columns=[kind.value for kind in Verdict], fill_value=0
        )
        rows.append({"layer": layer, "cells": counts.to_dict("index")})
    return rows


def described(output: Output) -> str:
    """Describe the sweep in one line."""
    results = output.results
    first = results.iloc[0]
    samples, draws = results["sample"].nunique(), results["draw"].nunique()
    protocol = "" if pd.isna(first["protocol"]) else f"{first['protocol']} protocol, "
    by = f" · {protocol}{int(results['steps'].max()):,} steps" if output.iterates else ""
    return (
        f"{first['model']} ({first['weights']}) · {output.reader}{by} · {samples:,} input{'s' if samples > 1 else ''}, "
        f"{draws} draw{'s' if draws > 1 else ''} per level"
    )
