"""Figures of results; every function draws on the axes passed in, or on a new figure, and returns them."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import Tensor

from readout.analysis.comparison import merged
from readout.analysis.curves import mean_trajectory, recovery_curves
from readout.analysis.drawn import drawn_inputs
from readout.analysis.frontier import Comparison
from readout.analysis.similarity import sides
from readout.analysis.sizes import beside, lower_bounds, symbol_of
from readout.analysis.statistics import median
from readout.data.images import to_pixels

STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 10,
    "savefig.bbox": "tight",
    "svg.hashsalt": "readout",
    "text.usetex": False,
}

MOST_VECTORS = 2000
"""Number of dots beyond which a figure holds them as one bitmap."""

PANELS = 4
"""Panels per row."""


def recovery(results: pd.DataFrame, axes: Axes | None = None, inputs: Collection[str] | None = None) -> Axes:
    """Plot d_X, or d_S of other signals, against realised d_H: one line per layer, one dot per problem.

    Lines are means at levels where all inputs were inverted; bands are their 95 % intervals from resampling inputs.

    Args:
        results: One row per problem.
        axes: Axes to draw on; None for a new figure.
        inputs: Samples with dots; None for :func:`readout.analysis.drawn.drawn_inputs`.
    """
    axes = axes or _axes(6.4, 4.4)
    threshold, symbol = results["threshold"].iloc[0], symbol_of(results)
    top = max(1.0, float(results["distance"].max(skipna=True)))
    axes.plot([0, 1], [0, 1], ":", color="grey", lw=1, label=f"{symbol} = d_H")
    axes.axhline(threshold, color="black", lw=1, ls="--", label=f"threshold {threshold:g}")
    curves = recovery_curves(results)
    dots = results[results["sample"].isin(drawn_inputs([results]) if inputs is None else inputs)]
    many = len(dots) > MOST_VECTORS
    for layer, color in zip(results["layer"].unique(), _colors(results), strict=True):
        group = dots[dots["layer"] == layer]
        curve = curves[curves["layer"] == layer]
        moved = curve["feature_distance"]
        axes.scatter(group["feature_distance"], group["distance"], s=9, color=color, alpha=0.35, lw=0, rasterized=many)
        axes.fill_between(moved, curve["low"], curve["high"], color=color, alpha=0.15, lw=0)
        axes.plot(moved, curve["distance"], "-o", ms=4, color=color, label=label(layer))
    axes.set(
        xlabel="perturbation of the feature, $d_H$",
        ylabel=f"distance of the recovered {'input' if symbol == 'd_X' else 'signal'}, ${symbol}$",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, top * 1.04),
    )
    axes.legend(frameon=False, fontsize=8)
    return axes


def size_by_layer(sizes: pd.DataFrame, axes: Axes | None = None, inputs: Collection[str] | None = None) -> Axes:
    """Plot the representation size of every input by layer; open dots are lower bounds.

    Solid bars are medians, dashed bars medians by the other estimator.

    Args:
        sizes: One row per (model, layer, sample).
        axes: Axes to draw on; None for a new figure.
        inputs: Samples with dots; None for :func:`readout.analysis.drawn.drawn_inputs`.
    """
    axes = axes or _axes(6.4, 4.0)
    layers = list(dict.fromkeys(sizes["layer"]))
    dots = sizes[sizes["sample"].isin(drawn_inputs([sizes]) if inputs is None else inputs)]
    other = beside(sizes["estimator"].iloc[0])
    for place, (layer, color) in enumerate(zip(layers, _colors(sizes), strict=True)):
        group = sizes[sizes["layer"] == layer]
        values = dots[dots["layer"] == layer]["representation_size"].dropna()
        spread = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(len(values))
        bounds = lower_bounds(group)[values.index]
        axes.scatter(
            place + spread,
            values,
            s=26,
            edgecolors=color,
            facecolors=["none" if bound else color for bound in bounds],
            rasterized=len(dots) > MOST_VECTORS,
        )
        axes.hlines(median(group["representation_size"]), place - 0.28, place + 0.28, color=color, lw=2)
        axes.hlines(median(group[other]), place - 0.28, place + 0.28, color=color, lw=1, ls="--")
    _by_layer(axes, layers)
    axes.set_title(f"open: lower bound (see flags); dashed: {other}", fontsize=8, loc="right", color="grey")
    return axes


def frontier(comparisons: Sequence[Comparison], axes: Axes | None = None) -> Axes:
    """Plot median sizes by layer, one line per readout, over the frontier of those that compete (the wide line).

    Open marks are medians of sizes most of which are lower bounds. Readouts that nothing competes with are dotted.

    Args:
        comparisons: See :func:`readout.analysis.frontier.by_layer`.
        axes: Axes to draw on; None for a new figure.
    """
    axes = axes or _axes(6.4, 4.0)
    layers = merged([list(one.layers) for one in comparisons])
    for one in comparisons:
        where = [layers.index(layer) for layer in one.layers]
        if one.compete:
            values = [row.frontier.median for row in one.layers.values()]
            axes.plot(where, values, "-", lw=9, color="black", alpha=0.15, label="frontier", solid_capstyle="round")
            for style, name, expected in (
                ("--", "linear network", [row.linear for row in one.layers.values()]),
                (":", "Jacobian's prediction", [row.predicted for row in one.layers.values()]),
            ):
                if not np.isnan(expected).all():
                    axes.plot(where, expected, style, lw=1.2, color="grey", label=name)
        for name in one.readouts:
            read = [layer for layer, row in one.layers.items() if name in row.sizes]
            sizes = [one.layers[layer].sizes[name] for layer in read]
            where, values = [layers.index(layer) for layer in read], [size.median for size in sizes]
            (line,) = axes.plot(where, values, "-" if one.compete else ":", lw=1.5, label=label(name))
            faces = ["white" if 2 * size.bounds > size.count else line.get_color() for size in sizes]
            axes.scatter(where, values, s=26, color=faces, edgecolors=line.get_color(), zorder=3)
    _by_layer(axes, layers)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.02))
    return axes


def size_by_direction(sizes: pd.DataFrame, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Plot sizes by the direction in which features moved: one panel per layer, one colour per readout.

    A dot is the median over inputs, open if most of them are lower bounds, and a line spans all of them.

    Args:
        sizes: Sizes by several perturbations, one table below the other, with the readout's ``name`` and the class of
            the ``perturbation``; those of one input show its directions.
        axes: One per layer; None for a new figure.
    """
    layers, directions = list(dict.fromkeys(sizes["layer"])), list(dict.fromkeys(sizes["perturbation"]))
    names = list(dict.fromkeys(sizes["name"]))
    if axes is None:
        axes = panels(len(layers), Figure(layout="constrained"))
    for panel, layer in zip(axes, layers, strict=True):
        for place, name in enumerate(names):
            rows = sizes[(sizes["layer"] == layer) & (sizes["name"] == name) & sizes["representation_size"].notna()]
            groups = rows.groupby("perturbation", sort=False)["representation_size"]
            found, shift = groups.median(), 0.5 * ((place + 0.5) / len(names) - 0.5)
            where = np.array([directions.index(direction) for direction in found.index]) + shift
            color = f"C{place % 10}"
            panel.hlines(where, groups.min(), groups.max(), color=color, lw=1.5, alpha=0.5)
            bounds = lower_bounds(rows).groupby(rows["perturbation"], sort=False).mean() > 0.5
            faces = ["white" if bound else color for bound in bounds]
            panel.scatter(found, where, s=22, color=faces, edgecolors=color, zorder=3, label=label(name))
        panel.set_yticks(range(len(directions)), map(in_words, directions))
        panel.set(
            title=label(layer),
            xlim=(-0.03, max(1.0, sizes["representation_size"].max()) + 0.03),
            ylim=(len(directions) - 0.5, -0.5),
        )
        panel.set_xlabel("representation size, $d_H$")
    _legend_beside(axes)
    return axes


def in_words(perturbation: str) -> str:
    """Return the name of a perturbation's direction.

    Examples:
        >>> in_words("TangentPerturbation"), in_words("NearestLoss")
        ('tangent', 'nearest loss')
    """
    direction = perturbation.removesuffix("Perturbation")
    words = re.findall("[A-Z]?[^A-Z]+|[A-Z]+", direction)
    return label("Gaussian" if direction == "Gaussian" else " ".join(words).lower())


def trajectories(results: pd.DataFrame, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Plot d_X against optimisation step: one panel per layer, one line per level (mean over inputs and draws).

    Args:
        results: One row per problem, trajectories included.
        axes: One per layer; None for a new figure.
    """
    layers = list(dict.fromkeys(results["layer"]))
    if axes is None:
        axes = panels(len(layers), Figure(layout="constrained"))
    levels = sorted(results["level"].unique())
    colors = mpl.colormaps["plasma"](np.linspace(0, 0.85, len(levels)))
    for panel, layer in zip(axes, layers, strict=True):
        for level, color in zip(levels, colors, strict=True):
            rows = results[(results["layer"] == layer) & (results["level"] == level)]
            if rows.empty:
                continue
            mean = mean_trajectory(rows)
            panel.plot(mean.index, mean.to_numpy(), color=color, label=f"{level:g}")
        panel.axhline(results["threshold"].iloc[0], color="black", lw=1, ls="--")
        panel.set(title=label(layer), xlabel="optimisation step")
    for panel in axes[::PANELS]:
        panel.set_ylabel("$d_X$")
    _legend_beside(axes, title="level")
    return axes


def similarity(table: pd.DataFrame, axes: Axes | None = None) -> Axes:
    """Plot similarities as a map, layers × others.

    Args:
        table: From :func:`readout.analysis.similarity.similarity_table`.
        axes: Axes to draw on; None for a new figure.
    """
    layers, others = sides(table)
    axes = axes or _axes(2.4 + 0.3 * len(others), 1.4 + 0.3 * len(layers))
    values = table.pivot(index="layer", columns="other", values="similarity").loc[layers, others]
    drawn = axes.imshow(values, vmin=min(0, values.min().min()), vmax=1)
    figure_of(axes).colorbar(drawn, ax=axes, label=str(table["measure"].iloc[0]))
    axes.set_xticks(range(len(others)), map(label, others), rotation=90)
    axes.set_yticks(range(len(layers)), map(label, layers))
    axes.grid(visible=False)
    return axes


def panels(count: int, figure: Figure) -> list[Axes]:
    """Make axes with a common y, at most :data:`PANELS` per row, and resize the figure to hold them."""
    across = min(count, PANELS)
    down = -(-count // across)
    figure.set_size_inches(3.1 * across, 2.9 * down)
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    for unused in grid.flat[count:]:
        unused.set_visible(False)
    return list(grid.flat[:count])


def _legend_beside(axes: Sequence[Axes], title: str | None = None) -> None:
    """Put the legend of the last of several :func:`panels` to its right."""
    legend = axes[-1].legend(title=title, frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.02))
    legend.set_in_layout(len(axes) <= PANELS or len(axes) % PANELS == 0)  # otherwise it fits beside the last panel


def pictured(results: pd.DataFrame, samples: Collection[str]) -> pd.DataFrame:
    """Select the problems to show as pictures: the first draw of these samples, read once."""
    first = (results["draw"] == results["draw"].min()) & (results["reading"] == 0)
    chosen: pd.DataFrame = results[first & results["sample"].isin(samples)]
    return chosen


def recovered_images(
    results: pd.DataFrame,
    inputs: Mapping[str, Tensor],
    recovered: Mapping[str, Tensor],
    figure: Figure | None = None,
) -> Figure:
    """Show recovered images: one row per (layer, input), the true image first, then one column per level.

    Args:
        results: One row per problem; see :func:`pictured`.
        inputs: True images by sample name.
        recovered: Recovered images by problem key.
        figure: Figure to draw on, which is resized; None for a new one.
    """
    groups = list(results.groupby(["layer", "sample"], sort=False))
    levels = sorted(results["level"].unique())
    figure = figure or Figure(layout="constrained")
    figure.set_size_inches(1.15 * (len(levels) + 1) + 0.6, 1.3 * len(groups))
    grid = figure.subplots(len(groups), len(levels) + 1, squeeze=False)
    for axes, ((layer, sample), group) in zip(grid, groups, strict=True):
        axes[0].imshow(to_pixels(inputs[str(sample)]))
        axes[0].set_ylabel(label(layer), fontsize=8)
        by_level = group.set_index("level")
        for panel, level in zip(axes[1:], levels, strict=True):
            if level not in by_level.index or by_level.loc[level, "key"] not in recovered:
                continue
            row = by_level.loc[level]
            panel.imshow(to_pixels(recovered[row["key"]]))
            good = row["verdict"] == "recovered"
            panel.set_xlabel(f"{row['distance']:.3f}", fontsize=7, labelpad=1, color="tab:green" if good else "tab:red")
    for panel in grid.flat:
        panel.set(xticks=[], yticks=[])
        panel.grid(visible=False)
        for spine in panel.spines.values():
            spine.set_visible(False)
    for panel, title in zip(grid[0], ["true", *(f"level {level:g}" for level in levels)], strict=True):
        panel.set_title(title, fontsize=8)
    return figure


def label(name: object) -> str:
    """Escape a name for matplotlib: a dollar would begin a formula, a leading underscore hide it from the legend."""
    shown = "".join(character if character.isprintable() else " " for character in str(name)).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def figure_of(axes: Axes) -> Figure:
    """Return the figure of axes."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return figure


def _axes(width: float, height: float) -> Axes:
    return Figure(figsize=(width, height), layout="constrained").subplots()


def _by_layer(axes: Axes, layers: Sequence[str]) -> None:
    """Set up axes of sizes by layer."""
    axes.set_xticks(range(len(layers)), map(label, layers), rotation=45 if len(layers) > 6 else 0)
    axes.set(ylabel="representation size, $d_H$", ylim=(-0.02, 1.02), xlim=(-0.6, len(layers) - 0.4))


def _colors(table: pd.DataFrame) -> list[str]:
    """Return one colour per layer, from shallow to deep."""
    count = table["layer"].nunique()
    return [to_hex(color) for color in mpl.colormaps["viridis"](np.linspace(0, 0.85, count))]
