"""Figures and sentences of :mod:`experiments.planted_brain`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from experiments.shared.drawing import COLORS, error_bars, name_columns
from experiments.shared.harness import Experiment
from readout.data.images import to_pixels


def draw(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Plot scores against ceilings, distances of decoded features beside tangent sizes, and sizes by noise."""
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    encoded, decoded, sized = figure.subplots(1, 3)
    for color, (planted, group) in zip(COLORS, tables["encoded"].groupby("planted"), strict=False):
        encoded.scatter(group["ceiling"], group["score"], s=6, alpha=0.4, lw=0, color=color, label=_named(planted))
    encoded.axline((0, 0), slope=1, color="grey", lw=1)
    encoded.set(xlabel="noise ceiling, estimated", ylabel="cross-validated correlation", title="Voxels")
    encoded.legend(frameon=False, fontsize=8)
    layers = list(tables["decoded"]["layer"].unique())
    for place, (color, (planted, group)) in enumerate(zip(COLORS, tables["decoded"].groupby("planted"), strict=False)):
        where = np.array([layers.index(layer) for layer in group["layer"]]) + 0.12 * (place - 1.5)
        error = error_bars(group, "feature_distance")
        decoded.errorbar(where, group["feature_distance"], error, fmt="o", ms=4, color=color, label=_named(planted))
    for name, marker, label in (("chance_distance", "_", "mean feature"), ("tangent_size", "x", "tangent size")):
        values = tables["decoded"].groupby("layer", sort=False)[name].first().loc[layers]
        decoded.scatter(range(len(layers)), values, marker=marker, s=120, color="black", label=label)
    name_columns(decoded, layers)
    decoded.set(ylabel="$d_H$ to the true feature", title="Decoded features", ylim=(0, None))
    decoded.legend(frameon=False, fontsize=8)
    for color, (noise, group) in zip(COLORS, tables["sizes"].groupby("noise"), strict=False):
        sized.errorbar(group["planted"], group["size"], error_bars(group, "size"), fmt="o-", color=color, label=noise)
    own = tables["encoded"][tables["encoded"]["planted"] > 0].groupby("planted")[["one", "mean"]].first()
    sized.plot(own.index, own["mean"], "k:", label="noise of a mean response")
    sized.plot(own.index, own["one"], "k--", label="noise of a single response")
    sized.set(xlabel="planted noise ceiling", ylabel="$d_H$", title="Sizes of responses, image identified", ylim=(0, 1))
    sized.legend(frameon=False, fontsize=8)
    return figure


def draw_examples(experiment: Experiment[Any], inverted: pd.DataFrame, images: Tensor, names: Sequence[str]) -> Figure:
    """Show the true images above those recovered at each layer and ceiling."""
    shown = list(dict.fromkeys(inverted["sample"]))
    rows = [(layer, ceiling) for layer in inverted["layer"].unique() for ceiling in inverted["planted"].unique()]
    figure = Figure(figsize=(1.7 * len(shown), 1.6 * (len(rows) + 1)), layout="constrained")
    grid = figure.subplots(len(rows) + 1, len(shown), squeeze=False)
    for column, sample in enumerate(shown):
        grid[0][column].imshow(to_pixels(images[list(names).index(sample)]))
        for row, (layer, ceiling) in enumerate(rows, start=1):
            own = inverted[(inverted["sample"] == sample) & (inverted["planted"] == ceiling)]
            one = own[own["layer"] == layer].iloc[0]
            recovered = experiment.sweep_store(f"inverted-{ceiling}").load_recovered([one["key"]])
            grid[row][column].imshow(to_pixels(recovered[one["key"]]))
            grid[row][column].set_title(f"$d_X$ {one['distance']:.2f}", fontsize=8)
    for row, label in enumerate(["true", *(f"{layer}\nceiling {ceiling}" for layer, ceiling in rows)]):
        grid[row][0].set_ylabel(label, fontsize=8)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
    return figure


def conclude(tables: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    """State the result in one sentence on each step."""
    encoded = tables["encoded"].groupby("planted", sort=False)[["score", "ceiling", "normalised", "one", "mean"]].mean()
    voxels = "; ".join(
        f"{_named(planted)}: estimated {row['ceiling']:.3f}, correlation {row['score']:.3f}, of the ceiling "
        f"{row['normalised']:.2f}, a single response is off by d_H {row['one']:.2f}, a mean by {row['mean']:.2f}"
        if planted
        else f"{_named(planted)}: correlation {row['score']:.3f}"
        for planted, row in encoded.iterrows()
    )
    features = "; ".join(
        f"{_named(row['planted'])} {row['layer']} {row['feature_distance']:.3f} "
        f"({row['feature_distance_low']:.3f} to {row['feature_distance_high']:.3f}), the mean feature "
        f"{row['chance_distance']:.3f}, two-way {row['two_way']:.3f} ({row['two_way_low']:.3f} to "
        f"{row['two_way_high']:.3f}), tangent size {row['tangent_size']:.3f}, "
        f"{row['position']}"
        for _, row in tables["decoded"].iterrows()
    )
    pictures = "; ".join(
        f"{_named(planted)} {layer} {group['distance'].mean():.3f} ({group['distance'].min():.3f} to "
        f"{group['distance'].max():.3f})"
        for (planted, layer), group in tables["inverted"].groupby(["planted", "layer"], sort=False)
    )
    sizes = "; ".join(
        f"{_named(row['planted'])} {row['noise']} {row['size']:.3f} ({row['size_low']:.3f} to {row['size_high']:.3f})"
        for _, row in tables["sizes"].iterrows()
    )
    return (
        f"Voxels by planted ceiling: {voxels}.",
        f"d_H of decoded features: {features}.",
        f"Mean d_X of recovered images, and range: {pictures}.",
        f"Sizes of predicted responses when the image is identified: {sizes}.",
    )


def _named(planted: Any) -> str:
    return f"ceiling {planted}" if planted else "shuffled"
