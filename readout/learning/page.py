"""The page, the numbers and the configuration of a dictionary that was learnt."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import yaml
from markupsafe import Markup
from matplotlib.figure import Figure
from torch import Tensor

from readout.analysis import plots
from readout.analysis.report import PAGE, render
from readout.data.images import to_pixels
from readout.extractors import Patches
from readout.learning.activations import Activations, Rows
from readout.learning.learned import Learned
from readout.store import ResultStore, svg

MOST_ATOMS = 144
"""Most atoms that are drawn, those that are active most often."""


def write(
    learned: Learned,
    data: Activations,
    rows: Rows,
    folder: Path,
    config: Mapping[str, Any],
    parts: Mapping[int, Tensor],
) -> None:
    """Write ``report.html``, figures, ``learned.yaml`` and ``config.yaml``.

    Args:
        learned: The dictionary.
        data: What it was learnt from.
        rows: The features.
        folder: Output folder.
        config: The whole configuration.
        parts: Parts of images to which latents respond, by latent; see :func:`readout.learning.exemplars.exemplars`.
    """
    store, count = ResultStore(folder), len(learned.dictionary)
    facts = {
        "model": data.extractor.name,
        "weights": data.extractor.weights_name,
        "layer": data.layer,
        "latents": count,
        "dimensions": learned.dictionary.dimensions,
        "rows": len(rows.training),
        "held_out_rows": len(rows.held_out),
        "explained_variance": round(learned.explained_variance, 6),
        "active": round(learned.active, 4),
        "dead": learned.dead,
    }
    store.write_text("learned.yaml", yaml.safe_dump(facts, sort_keys=False))
    store.write_text("latents.csv", learned.latents.to_csv(index=False))
    written = yaml.safe_dump(dict(config), sort_keys=False)
    store.write_text("config.yaml", written)
    with mpl.rc_context(plots.STYLE):
        figures = {"frequencies": _frequencies(learned)}
        if isinstance(data.extractor, Patches):
            figures["atoms"] = _atoms(learned)
        elif parts:
            figures["responses"] = _responses(parts)
        drawn = {name: Markup(svg(figure)) for name, figure in figures.items()}
        for name, figure in figures.items():
            store.write_figure(name, figure)
    store.write_text(PAGE, render("learned.html.j2", learned=learned, facts=facts, figures=drawn, config=written))


def _frequencies(learned: Learned) -> Figure:
    """Draw how often latents are active, in falling order, and their sizes by that."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes, sizes = figure.subplots(1, 2)
    shares = np.sort(learned.latents["frequency"])[::-1]
    axes.plot(np.arange(1, len(shares) + 1), np.where(shares > 0, shares, np.nan))
    axes.set(xlabel="latent, by frequency", ylabel="share of rows in which it is active", xscale="log", yscale="log")
    sizes.plot(learned.latents["frequency"], learned.latents["size"], ".", ms=3, alpha=0.5)
    sizes.set(xlabel="share of rows in which it is active", ylabel="size of a latent, in d_H", xscale="log")
    return figure


def _atoms(learned: Learned) -> Figure:
    """Draw atoms as square pictures, grey at 0."""
    side = round(learned.dictionary.dimensions**0.5)
    shown = np.argsort(-learned.latents["frequency"].to_numpy())[:MOST_ATOMS]
    columns = int(np.ceil(len(shown) ** 0.5))
    sheet = np.full((columns * (side + 1) + 1,) * 2, np.nan)
    for place, atom in enumerate(learned.dictionary.atoms[shown].view(-1, side, side).numpy()):
        top, left = (1 + (side + 1) * each for each in divmod(place, columns))
        sheet[top : top + side, left : left + side] = atom / np.abs(atom).max()
    figure = Figure(figsize=(6, 6))
    axes = figure.subplots()
    axes.imshow(sheet, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    return figure


def _responses(parts: Mapping[int, Tensor]) -> Figure:
    """Draw what latents respond to, one row per latent."""
    columns = max(len(own) for own in parts.values())
    figure = Figure(figsize=(0.7 * columns + 0.6, 0.7 * len(parts)), layout="constrained")
    panels = figure.subplots(len(parts), columns, squeeze=False)
    for row, (latent, own) in zip(panels, parts.items(), strict=True):
        row[0].text(-0.2, 0.5, str(latent), transform=row[0].transAxes, ha="right", va="center", fontsize=7)
        for axes, part in zip(row, own, strict=True):
            axes.set_axis_off()
            if not part.isnan().any():
                axes.imshow(to_pixels(part))
    return figure
