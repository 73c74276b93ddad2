"""One self-contained HTML page, and the figures, from an output folder."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from readout import __version__
from readout.analysis import plots
from readout.analysis.sizes import EXPLAINED, at_common_levels, lower_bounds, sizes_table
from readout.analysis.texts import marked
from readout.data.images import to_pixels
from readout.errors import ReadoutError
from readout.representation import Estimator, Verdict
from readout.store import TOKENS, ResultStore, judge, load_results

THUMBNAIL = 96
"""Longest side of a picture on the page, in pixels; ``recovered/`` has them whole."""

PICTURED_SAMPLES = 4

PAGE = "report.html"

VERDICTS = {
    Verdict.RECOVERED: "the recovered input lies within the threshold: the feature still represents the input",
    Verdict.UNRECOVERED: "the recovered input explains the feature at least as well as the true one does, and is "
    "something else: the input is lost for this readout",
    Verdict.NOT_CONVERGED: "the true input explains the feature better than what was found: the optimiser stopped "
    "short, and nothing is said about the feature",
    Verdict.FAILED: "values that are not finite, or a prior that died and whose restarts died too",
}
"""Verdicts in words."""


def report(folder: str | Path) -> Path:
    """Make the report of an output folder again, from what is on disk.

    Where a folder holds results of several settings, the latest one is shown.

    Raises:
        ReadoutError: if the folder holds no results.
    """
    results = load_results(folder, trajectories=True)
    config = read_config(folder)
    sweep = config.get("sweep", {})
    setting = ResultStore(folder).latest_setting()
    results = results[results["setting"] == setting].reset_index(drop=True)
    results = judge(results, sweep.get("threshold") or results["threshold"].iloc[0], sweep.get("tolerance"))
    sizes = sizes_table(results, Estimator(sweep.get("estimator", "max")))
    return write_report(folder, results, sizes)


def write_report(folder: str | Path, results: pd.DataFrame, sizes: pd.DataFrame) -> Path:
    """Write ``figures/`` (PNG and SVG) and ``report.html``.

    Args:
        folder: Output folder of a sweep.
        results: The problems to show, trajectories included.
        sizes: Their sizes.

    Returns:
        Path of the page.
    """
    store = ResultStore(folder)
    inputs = store.load_inputs(results["sample"].unique())
    pictured = plots.pictured(results, list(inputs)[:PICTURED_SAMPLES])
    recovered = store.load_recovered(pictured["key"])
    with mpl.rc_context(plots.STYLE):
        figures: dict[str, Figure] = {
            "recovery": _figure(plots.recovery(results)),
            "sizes": _figure(plots.size_by_layer(sizes)),
            "trajectories": _figure(plots.trajectories(results)[0]),
        }
        pages = {name: store.write_figure(name, figure) for name, figure in figures.items()}
        if inputs:
            store.write_figure("recovered", plots.recovered_images(pictured, inputs, recovered))
    template = Environment(loader=PackageLoader("readout.analysis", "templates"), autoescape=True).get_template(
        "report.html.j2"
    )
    first = results.iloc[0]
    page = template.render(
        version=__version__,
        first=first,
        figures=pages,
        summary=_summary(results, sizes),
        layers=_layers(results, sizes),
        levels=sorted(results["level"].unique()),
        pictures=_pictures(pictured, inputs, recovered),
        texts=_texts(results),
        counts=plots.verdict_counts(results).to_dict("records"),
        verdicts={kind.value: text for kind, text in VERDICTS.items()},
        flags={kind.value: text for kind, text in EXPLAINED.items()},
        estimator=sizes["estimator"].iloc[0],
        config=yaml.safe_dump(read_config(folder), sort_keys=False),
        samples=results["sample"].nunique(),
        draws=results["draw"].nunique(),
        steps=int(results["steps"].max()),
        restarts=int(results["restarts"].sum()),
    )
    return store.write_text(PAGE, page)


def read_config(folder: str | Path) -> dict[str, Any]:
    """The configuration kept with the results; empty if there is none.

    Raises:
        ReadoutError: if it can't be read.
    """
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        return {}
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ReadoutError(f"{str(path)!r} can't be read as YAML; restore it, or delete it.") from error
    return loaded if isinstance(loaded, dict) else {}


def _summary(results: pd.DataFrame, sizes: pd.DataFrame) -> list[str]:
    """What a hurried reader should take away, from the numbers."""
    by_layer = sizes.groupby("layer", sort=False)["representation_size"].median()
    sentences = [
        f"Median representation size runs from {by_layer.iloc[0]:.2f} at {by_layer.index[0]} to "
        f"{by_layer.iloc[-1]:.2f} at {by_layer.index[-1]}."
        if len(by_layer) > 1
        else f"Median representation size at {by_layer.index[0]} is {by_layer.iloc[0]:.2f}."
    ]
    unknown = results["verdict"].isin([Verdict.NOT_CONVERGED.value, Verdict.FAILED.value]).sum()
    if unknown:
        sentences.append(
            f"{unknown} of {len(results)} inversions failed or did not converge and say nothing of the feature."
        )
    bounds = lower_bounds(sizes).sum()
    if bounds:
        sentences.append(f"{bounds} of {len(sizes)} sizes are lower bounds.")
    return sentences


def _layers(results: pd.DataFrame, sizes: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for layer, group in sizes.groupby("layer", sort=False):
        problems = results[results["layer"] == layer]
        values = group["representation_size"]
        flags = [flag for flags in group["flags"] for flag in flags.split(";") if flag]
        rows.append(
            {
                "layer": layer,
                "dimension": int(group["feature_dim"].iloc[0]),
                "ratio": group["feature_dim"].iloc[0] / group["input_dim"].iloc[0],
                "median": values.median(),
                "low": values.min(),
                "high": values.max(),
                "flags": {flag: flags.count(flag) for flag in dict.fromkeys(flags)},
                "distances": at_common_levels(problems).groupby("level")["distance"].mean().to_dict(),
            }
        )
    return rows


def _pictures(
    pictured: pd.DataFrame, inputs: Mapping[str, Tensor], recovered: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """Rows of thumbnails: the true image, then each level of the first draw."""
    rows = []
    for (sample, layer), group in pictured.groupby(["sample", "layer"], sort=False):
        cells = {row["level"]: row | {"image": thumbnail(recovered[row["key"]])} for row in group.to_dict("records")}
        rows.append({"layer": layer, "sample": sample, "true": thumbnail(inputs[str(sample)]), "cells": cells})
    return rows


def _texts(results: pd.DataFrame) -> list[dict[str, Any]]:
    """Each layer's recovered texts by level, of the first draw of some inputs."""
    if not set(TOKENS) <= set(results.columns):
        return []
    shown = plots.pictured(results, list(results["sample"].unique()[:PICTURED_SAMPLES]))
    return [
        {
            "layer": layer,
            "sample": sample,
            "true": group["true_text"].iloc[0],
            "rows": [row | {"marked": marked(*(row[name] for name in TOKENS))} for row in group.to_dict("records")],
        }
        for (sample, layer), group in shown.groupby(["sample", "layer"], sort=False)
    ]


def thumbnail(image: Tensor) -> str:
    """A PNG as a data address, no larger than a page needs."""
    picture = Image.fromarray(to_pixels(image))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _figure(axes: Any) -> Figure:
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    return figure
