"""Comparison of output folders: their settings, and their sizes in one table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from readout.analysis.outputs import Output
from readout.analysis.sizes import lower_bounds
from readout.analysis.statistics import Estimate, bootstrap_interval, median


@dataclass(frozen=True)
class LayerSizes:
    """Sizes of one layer, over inputs."""

    median: float
    mean: Estimate
    count: int
    bounds: int
    """Number of sizes that are lower bounds."""


@dataclass(frozen=True)
class Difference:
    """Sizes in one folder minus those of the same inputs in the first folder."""

    mean: Estimate
    count: int
    bounds: int
    """Number of pairs in which a size is a lower bound."""


@dataclass(frozen=True)
class JoinedRow:
    """One layer in every folder."""

    layer: str
    sizes: list[LayerSizes | None]
    differences: list[Difference | None]
    """Differences from the first folder, one per other folder."""


def all_layers(outputs: Sequence[Output]) -> list[str]:
    """List the layers of all folders in one order; see :func:`merged`."""
    return merged([output.layers for output in outputs])


def merged(orders: Iterable[Sequence[str]]) -> list[str]:
    """Merge ordered names; a name that only some have is placed after its predecessor there.

    Examples:
        >>> merged([["conv1", "conv3"], ["conv2", "conv3", "conv4"]])
        ['conv1', 'conv2', 'conv3', 'conv4']
    """
    names: list[str] = []
    for order in orders:
        for place, name in enumerate(order):
            if name in names:
                continue
            before = order[place - 1] if place else None
            after = next((later for later in order[place:] if later in names), None)
            if before is not None:
                names.insert(names.index(before) + 1, name)
            else:
                names.insert(names.index(after) if after else len(names), name)
    return names


def joined_sizes(outputs: Sequence[Output]) -> list[JoinedRow]:
    """Return one row per layer."""
    rows = []
    for layer in all_layers(outputs):
        tables = [output.sizes[output.sizes["layer"] == layer] for output in outputs]
        sizes = [None if table.empty else layer_sizes(table) for table in tables]
        differences = [_difference(outputs[0], other, layer) for other in outputs[1:]]
        rows.append(JoinedRow(layer, sizes, differences))
    return rows


def layer_sizes(sizes: pd.DataFrame) -> LayerSizes:
    """Summarise the sizes of one layer."""
    values = sizes["representation_size"]
    return LayerSizes(median(values), bootstrap_interval(values), len(values), int(lower_bounds(sizes).sum()))


def settings_table(outputs: Sequence[Output]) -> dict[str, list[str]]:
    """Return the settings of the folders by name, one value per folder."""
    columns = {
        "model": "model",
        "weights": "weights",
        "readout": "readout",
        "prior": "prior",
        "protocol": "protocol",
        "distance": "metric",
        "threshold": "threshold",
        "input values": "input_dim",
        "setting": "setting",
    }
    table = {name: [_values(output, column) for output in outputs] for name, column in columns.items()}
    table["steps"] = [f"{int(output.results['steps'].max()):,}" for output in outputs]
    table["estimator"] = [str(output.sizes["estimator"].iloc[0]) for output in outputs]
    table["inputs"] = [str(len(output.samples)) for output in outputs]
    table["draws per level"] = [str(output.results["draw"].nunique()) for output in outputs]
    table["levels"] = [", ".join(f"{level:g}" for level in output.levels) for output in outputs]
    described = {name: [entry(output.setting, *path) for output in outputs] for name, path in DESCRIBED.items()}
    return table | {name: values for name, values in described.items() if set(values) != {UNKNOWN}}


def entry(setting: Mapping[str, Any], *path: str) -> str:
    """Return an entry of a setting, :data:`UNKNOWN` if there is none; of a class, its name without the module."""
    found: Any = setting
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    if found is None:
        return UNKNOWN
    return str(found).rpartition(".")[2] if path[-1] == "class" else str(found)


def cautions(outputs: Sequence[Output]) -> list[str]:
    """Return warnings about differences between the folders, in sentences."""
    if len(outputs) < 2:
        return []
    table = settings_table(outputs)
    differing = [name for name, values in table.items() if len(set(values)) > 1]
    said = []
    if "setting" in differing:
        named = ", ".join(name for name in differing if name not in ("setting", "inputs", "draws per level", "levels"))
        said.append(
            f"These folders hold different readouts ({named or 'see their configurations'}). A size depends on its "
            "readout, so a difference may come from the readout and not from the network."
        )
    if "distance" in differing:
        said.append("The metrics of d_X differ, so neither curves nor sizes can be compared.")
    if "levels" in differing:
        said.append("The levels differ, and no size can exceed the highest level tested.")
    first = outputs[0]
    for other in outputs[1:]:
        common, most = len({*first.samples} & {*other.samples}), max(len(first.samples), len(other.samples))
        if not common:
            said.append(f"{first.name} and {other.name} share no input name, so there are no differences.")
        elif common < most:
            said.append(f"{first.name} and {other.name} share {common} of {most} inputs; differences are over those.")
    return said


DESCRIBED = {
    "optimiser": ("readout", "optimizer", "class"),
    "learning rate": ("readout", "optimizer", "lr"),
    "schedule": ("readout", "lr_schedule", "class"),
    "loss": ("readout", "loss", "class"),
    "perturbation": ("moved_by", "class"),
    "precision": ("precision",),
}
"""Paths of entries in a setting that the results do not have."""

UNKNOWN = "–"


def _values(output: Output, column: str) -> str:
    found = sorted(output.results[column].dropna().unique()) or [UNKNOWN]
    shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in found]
    return ", ".join(shown) if len(shown) < 3 else f"{shown[0]} … {shown[-1]}"


def _difference(first: Output, other: Output, layer: str) -> Difference | None:
    """Compare the inputs that both folders have at the layer, if sizes are of the same signal, metric and threshold."""
    kind = ["signal", "metric", "threshold"]
    if not first.sizes[kind].iloc[0].equals(other.sizes[kind].iloc[0]):
        return None
    a, b = (
        sizes[sizes["layer"] == layer].set_index("sample").assign(bound=lower_bounds)
        for sizes in (first.sizes, other.sizes)
    )
    a, b = a[a["representation_size"].notna()], b[b["representation_size"].notna()]
    common = [sample for sample in a.index if sample in b.index]
    if not common:
        return None
    a, b = a.loc[common], b.loc[common]
    mean = bootstrap_interval(b["representation_size"] - a["representation_size"])
    return Difference(mean, len(common), int(np.sum(a["bound"].to_numpy() | b["bound"].to_numpy())))
