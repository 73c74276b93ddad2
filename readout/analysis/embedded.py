"""Data of the page's script."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from readout.analysis.comparison import all_layers
from readout.analysis.curves import mean_trajectory, recovery_curves
from readout.analysis.outputs import Output
from readout.analysis.sizes import beside, lower_bounds, symbol_of
from readout.analysis.statistics import bootstrap_interval, median
from readout.analysis.words import VERDICTS
from readout.store import COLUMNS

PROBLEM = (
    "distance",
    "feature_distance",
    "level",
    "draw",
    "loss",
    "floor",
    "best_distance",
    "best_step",
    "steps",
    "restarts",
    "verdict",
)
"""Columns of a problem; its indices into ``folders``, ``layers`` and ``samples`` precede them; the word that was read,
its file and further metrics follow."""

DIGITS = 5

MOST_POINTS = 60
"""Largest number of points per trajectory."""


def page_data(
    outputs: Sequence[Output],
    drawn: Sequence[pd.DataFrame],
    files: Sequence[Mapping[str, str]],
    inputs: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """Collect everything that the page's script draws, with numbers rounded and None for those that are not finite.

    Args:
        outputs: The folders.
        drawn: Problems drawn one by one, per folder; see :meth:`readout.analysis.outputs.Output.drawn`.
        files: Addresses of recovered inputs by key, per folder.
        inputs: Addresses of true inputs by sample, per folder.

    Returns:
        ``symbol`` of the distance. ``folders``, ``layers``, ``samples``: names, which rows refer to by index.
        ``columns`` and ``problems``: one row per problem drawn. ``marks``: one character per verdict. ``series``: one
        per (folder, layer), with the number of ``problems`` drawn, ``curve`` (level, d_H, d_X, low, high, samples),
        ``predicted`` curve (level, d_X), ``sizes`` of inputs drawn (sample, size, whether it is a lower bound, flags,
        size by the other estimator), ``median`` and ``mean`` (value, low, high) of all and their number ``count``, the
        other ``estimator`` and the median by it (``beside``), and ``trajectories`` by level, of problems drawn.
    """
    layers = all_layers(outputs)
    samples = list(dict.fromkeys(sample for table in drawn for sample in table["sample"]))
    place_of = {name: place for place, name in enumerate(samples)}
    metrics = list(dict.fromkeys(name for output in outputs for name in further_metrics(output.results)))
    problems: list[list[Any]] = []
    series = []
    for place, output in enumerate(outputs):
        words = output.words
        for row in drawn[place].to_dict("records"):
            where = [place, layers.index(row["layer"]), place_of[row["sample"]]]
            word = row[words[1]] if words else None
            more = [word, files[place].get(row["key"]), *(row.get(name) for name in metrics)]
            problems.append(_plain([*where, *(row[name] for name in PROBLEM), *more]))
        curves, predictions = recovery_curves(output.results), output.predictions
        for layer in output.layers:
            of_layer = drawn[place][drawn[place]["layer"] == layer]
            series.append(
                {
                    "folder": place,
                    "layer": layers.index(layer),
                    "problems": len(of_layer),
                    "curve": _plain(curves[curves["layer"] == layer].drop(columns="layer").to_numpy().tolist()),
                    "predicted": _predicted(predictions, layer),
                    **_sizes(output.sizes[output.sizes["layer"] == layer], place_of),
                    "trajectories": _trajectories(of_layer) if output.iterates else [],
                }
            )
    folders = [
        {
            "name": output.name,
            "threshold": float(output.results["threshold"].iloc[0]),
            "inputs": [inputs[place].get(sample) for sample in samples],
        }
        for place, output in enumerate(outputs)
    ]
    return {
        "symbol": symbol_of(*(output.results for output in outputs)),
        "folders": folders,
        "layers": layers,
        "samples": samples,
        "marks": {kind.value: meaning.mark for kind, meaning in VERDICTS.items()},
        "columns": ["folder", "layer", "sample", *PROBLEM, "word", "file", *metrics],
        "problems": problems,
        "series": series,
    }


def as_script(data: Mapping[str, Any]) -> str:
    """Return JSON that is safe inside a ``<script>`` element.

    Examples:
        >>> "</script>" in as_script({"layer": "</script>"})
        False
    """
    return json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def further_metrics(results: pd.DataFrame) -> list[str]:
    """List the columns of further metrics."""
    return [name for name in results.columns if name not in COLUMNS and is_numeric_dtype(results[name])]


def _predicted(predictions: pd.DataFrame, layer: str) -> list[list[Any]]:
    """Average the predicted d_X by level."""
    if predictions.empty:
        return []
    means = predictions[predictions["layer"] == layer].groupby("level")["predicted_distance"].mean()
    return [_plain([level, distance]) for level, distance in means.items()]


def _sizes(sizes: pd.DataFrame, place_of: Mapping[str, int]) -> dict[str, Any]:
    other = beside(sizes["estimator"].iloc[0])
    sizes = sizes[sizes["representation_size"].notna()]
    values = sizes["representation_size"]
    mean = bootstrap_interval(values)
    drawn = sizes[sizes["sample"].isin(place_of)]
    columns = (drawn["representation_size"], lower_bounds(drawn), drawn["flags"], drawn[other])
    return {
        "sizes": [_plain([place_of[name], *more]) for name, *more in zip(drawn["sample"], *columns, strict=True)],
        "count": len(values),
        "median": _plain(float(values.median())),
        "estimator": other,
        "beside": _plain(median(sizes[other])),
        "mean": _plain([mean.value, mean.low, mean.high]),
    }


def _trajectories(problems: pd.DataFrame) -> list[dict[str, Any]]:
    """Return mean d_X by step, one curve per level."""
    found = []
    for level, group in problems.groupby("level"):
        mean = mean_trajectory(group)
        if mean.empty:
            continue
        every = math.ceil(len(mean) / MOST_POINTS)
        places = sorted({*range(0, len(mean), every), len(mean) - 1})
        kept = mean.iloc[places]
        found.append({"level": _plain(level), "steps": [int(step) for step in kept.index], "distance": _plain([*kept])})
    return found


def _plain(value: Any) -> Any:
    """Round numbers, and turn NumPy scalars into Python's and non-finite ones into None, for JSON."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
