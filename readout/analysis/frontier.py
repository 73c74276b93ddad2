"""The frontier of a layer: the largest size that any readout reached there, and which one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from readout.analysis.comparison import LayerSizes, entry, layer_sizes, merged
from readout.analysis.outputs import Output
from readout.analysis.sizes import size_if_linear
from readout.analysis.statistics import Estimate, bootstrap_interval, median

COMPARABLE = ["signal", "metric", "threshold", "estimator", "model", "weights_digest", "perturbation"]
"""Columns of sizes that must agree for sizes to compete."""

TIE = 1e-3
"""Sizes that differ by less are equal: device and batch size change the last digits of a realised d_H."""


@dataclass(frozen=True)
class LayerFrontier:
    """Sizes of one layer by readout, and the largest ones."""

    sizes: dict[str, LayerSizes]
    """By name of the readout."""
    frontier: LayerSizes
    """Over the largest size of each input."""
    reached_by: dict[str, int]
    """Number of inputs on which each readout reached the frontier, most first; a tie counts for all of its readouts."""
    gap: Estimate
    """Mean amortisation gap; of no input if iterative or amortised readouts are missing."""
    linear: float
    """Size in closed form at D/d; NaN if d_X is no correlation distance."""
    predicted: float
    """Median of the sizes predicted from the Jacobian; NaN if there are none."""


@dataclass(frozen=True)
class Comparison:
    """Sizes that may be compared with each other."""

    title: str
    readouts: list[str]
    compete: bool
    """Whether several readouts read the same input at the same layer; otherwise there is no frontier."""
    layers: dict[str, LayerFrontier]


def named_sizes(outputs: Sequence[Output]) -> pd.DataFrame:
    """Join the sizes of several folders, with the columns ``name``, ``perturbation`` and ``predicted_size``.

    A readout has the name of its prior or, without one, of its class; where two have the same and move features alike,
    those of their folders.
    """
    pairs = [(output.reader, entry(output.setting, "moved_by", "class")) for output in outputs]
    tables = []
    for output, (reader, perturbation) in zip(outputs, pairs, strict=True):
        name = output.name if pairs.count((reader, perturbation)) > 1 else reader
        tables.append(output.sizes.assign(name=name, perturbation=perturbation))
    sizes, predictions = pd.concat(tables, ignore_index=True), pd.concat([output.predictions for output in outputs])
    if predictions.empty:
        return sizes.assign(predicted_size=math.nan)
    keys = ["weights_digest", "layer", "sample", "threshold"]
    return sizes.merge(predictions[[*keys, "predicted_size"]].drop_duplicates(keys), how="left", on=keys)


def with_frontier(sizes: pd.DataFrame) -> pd.DataFrame:
    """Find the largest size that any readout reached, for each input and layer.

    Args:
        sizes: Sizes by several readouts, one table below the other, with the readout's ``name``.

    Returns:
        The same rows, without undefined sizes, and with the columns ``frontier`` (largest size of the input at the
        layer), ``reached`` (whether this readout reached it; none reaches 0), ``competitors`` (number of readouts of
        the input there) and ``gap`` (largest size by an iterative readout, which has a protocol, minus the largest by
        an amortised one).

    Examples:
        >>> same = {"signal": "input", "metric": "correlation_distance", "threshold": 0.1, "estimator": "max"}
        >>> same |= {"model": "Net", "weights_digest": "0", "layer": "fc", "sample": "cat", "flags": ""}
        >>> sizes = pd.DataFrame({"name": ["DeepImagePrior", "TrainedDecoder"], "protocol": ["paper", None]})
        >>> found = with_frontier(sizes.assign(**same, representation_size=[0.3, 0.7]))
        >>> found[["name", "frontier", "reached", "gap"]]
                     name  frontier  reached  gap
        0  DeepImagePrior       0.7    False -0.4
        1  TrainedDecoder       0.7     True -0.4
    """
    table = sizes[sizes["representation_size"].notna()]
    groups = [table[name] for name in (*COMPARABLE, "layer", "sample") if name in table]

    def largest(values: pd.Series) -> pd.Series:
        return values.groupby(groups).transform("max")

    size, iterative = table["representation_size"], table["protocol"].notna()
    most = largest(size)
    return table.assign(
        frontier=most,
        reached=(size > most - TIE) & (most > 0),
        competitors=table["name"].groupby(groups).transform("nunique"),
        gap=largest(size.where(iterative)) - largest(size.where(~iterative)),
    )


def by_layer(table: pd.DataFrame) -> list[Comparison]:
    """Summarise frontiers by layer, over the inputs that several readouts read there.

    Args:
        table: See :func:`with_frontier`.

    Returns:
        One entry per combination of :data:`COMPARABLE`.
    """
    keys = [name for name in COMPARABLE if name in table]
    varying = [name.removesuffix("_digest") for name in keys[3:] if table[name].nunique() > 1]
    found = []
    for _, group in table.groupby(keys, sort=False):
        compete = bool((group["competitors"] > 1).any())
        shown = group[group["competitors"] > 1] if compete else group
        first = group.iloc[0]
        title = f"{first['signal']}, {first['metric']} < {first['threshold']:g}"
        title = ", ".join([title, *(str(first[name]) for name in varying)])
        layers = merged([rows["layer"].unique().tolist() for _, rows in shown.groupby("name", sort=False)])
        rows = {layer: _of_layer(shown[shown["layer"] == layer]) for layer in layers}
        found.append(Comparison(title, shown["name"].unique().tolist(), compete, rows))
    return found


def _of_layer(rows: pd.DataFrame) -> LayerFrontier:
    first = rows.iloc[0]
    largest = rows.sort_values("representation_size", ascending=False, kind="stable").drop_duplicates("sample")
    return LayerFrontier(
        sizes={str(name): layer_sizes(group) for name, group in rows.groupby("name", sort=False)},
        frontier=layer_sizes(largest),
        reached_by=rows.loc[rows["reached"], "name"].value_counts().to_dict(),
        gap=bootstrap_interval(largest["gap"]),
        linear=size_if_linear(first, first["input_dim"]),
        predicted=median(largest["predicted_size"]) if "predicted_size" in largest else math.nan,
    )
