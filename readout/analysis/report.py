"""Report: a self-contained HTML page and figures, from output folders."""

import os
from collections.abc import Collection, Sequence
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from readout.analysis import comparison, plots
from readout.analysis.drawn import drawn_inputs
from readout.analysis.embedded import as_script, page_data
from readout.analysis.frontier import Comparison, by_layer, named_sizes, with_frontier
from readout.analysis.gallery import address, addresses, input_addresses, samples_on_page, sections
from readout.analysis.outputs import Output, read_outputs
from readout.analysis.predictions import draw_prediction
from readout.analysis.sizes import EXPLAINED, beside, symbol_of
from readout.analysis.tables import described, layer_rows, verdict_rows
from readout.analysis.words import VERDICTS, summary
from readout.common.checks import check_whole
from readout.common.errors import ReadoutError
from readout.common.files import user_path
from readout.store import ResultStore, read_config, svg
from readout.version import __version__

FIGURE_SAMPLES = 4
"""Largest number of inputs in the figure ``recovered``, and of inputs whose sizes by direction are drawn."""

FIGURE_ROWS = 24
"""Largest number of rows in that figure, one per (layer, input)."""

PAGE = "report.html"

COMPARISON = "comparison.html"

SCRIPTS = ("charts.js", "numbers.js", "curves.js", "sizes.js", "recoveries.js", "trajectories.js", "report.js")


def report(folders: Sequence[str | Path], output: str | Path | None = None, inputs: int | None = None) -> Path:
    """Remake the page of one or several output folders from their files.

    Of a folder with results of several settings, the latest setting is shown.

    Args:
        folders: Output folders of sweeps; several are compared on one page.
        output: Path of the page. Default: :data:`PAGE` in the folder; for several folders, :data:`COMPARISON` in the
            folder that holds them all.
        inputs: Number of inputs to embed; see :func:`readout.analysis.gallery.samples_on_page`.

    Returns:
        Path of the page.

    Raises:
        ReadoutError: if a folder holds no results or is listed twice, or ``output`` is a folder.
    """
    if inputs is not None:
        check_whole("--inputs", inputs, 1)
    outputs = read_outputs(folders)
    page = user_path(output) if output else _default_page(outputs)
    if page.is_dir():
        raise ReadoutError(f"{str(page)!r} is a folder; give the page's file, such as {str(page / COMPARISON)!r}.")
    return write_page(outputs, page, inputs)


def write_report(folder: str | Path, results: pd.DataFrame, sizes: pd.DataFrame) -> Path:
    """Write ``figures/`` (PNG and SVG) and ``report.html``.

    Args:
        folder: Output folder of a sweep.
        results: One row per problem to show.
        sizes: Table of their sizes.

    Returns:
        Path of the page.
    """
    store = ResultStore(folder)
    output = Output(store.folder.resolve().name, store, results, sizes, read_config(folder))
    return write_page([output], store.folder / PAGE)


def write_page(outputs: Sequence[Output], page: Path, inputs: int | None = None) -> Path:
    """Write the page, and the figures of a single folder.

    Args:
        outputs: One folder, or several to compare.
        page: Path of the page.
        inputs: See :func:`report`.
    """
    samples = samples_on_page(outputs, inputs)
    chosen = drawn_inputs([output.results for output in outputs], samples)
    drawn = [output.drawn(chosen) for output in outputs]
    files = [addresses(*pair, page.parent) for pair in zip(outputs, drawn, strict=True)]
    true = [input_addresses(*pair, page.parent) for pair in zip(outputs, drawn, strict=True)]
    draw = _written if len(outputs) == 1 else _drawn
    figures = [draw(*pair) for pair in zip(outputs, drawn, strict=True)]
    layers, joined = comparison.all_layers(outputs), comparison.joined_sizes(outputs)
    named = named_sizes(outputs)
    comparisons = by_layer(with_frontier(named))
    rendered = render(
        "report.html.j2",
        scripts=SCRIPTS,
        first=outputs[0].results.iloc[0],
        symbol=symbol_of(*(output.results for output in outputs)),
        outputs=outputs,
        descriptions=[described(output) for output in outputs],
        addresses=[address(output.store.folder, page.parent) for output in outputs],
        colors={"light": _colors(len(layers), 0, 0.8), "dark": _colors(len(layers), 0.3, 1)},
        data=Markup(as_script(page_data(outputs, drawn, files, true))),
        figures=[{name: Markup(svg) for name, svg in one.items()} for one in figures],
        summaries=[[*output.lacks, *summary(output.results, output.sizes)] for output in outputs],
        cautions=comparison.cautions(outputs),
        settings=comparison.settings_table(outputs),
        estimators=[output.sizes["estimator"].iloc[0] for output in outputs],
        beside=[beside(output.sizes["estimator"].iloc[0]) for output in outputs],
        joined=joined,
        comparisons=comparisons,
        frontier=_frontier(comparisons) if any(one.compete for one in comparisons) else None,
        directions=_directions(named),
        compared=[place for place in range(1, len(outputs)) if any(row.differences[place - 1] for row in joined)],
        layers=[layer_rows(output) for output in outputs],
        sections=sections(outputs, drawn, samples, files),
        shown=len(samples),
        drawn=len(chosen),
        inputs=len({sample for output in outputs for sample in output.samples}),
        counts=[verdict_rows(output) for output in outputs],
        verdicts={kind.value: meaning for kind, meaning in VERDICTS.items()},
        totals=pd.concat([output.results["verdict"] for output in outputs]).value_counts().to_dict(),
        flags={kind.value: text for kind, text in EXPLAINED.items()},
        restarts=sum(int(output.results["restarts"].sum()) for output in outputs),
        configs={output.name: yaml.safe_dump(output.config, sort_keys=False) for output in outputs if output.config},
    )
    return ResultStore(page.parent).write_text(page.name, rendered)


def render(template: str, scripts: Sequence[str] = (), **values: Any) -> str:
    """Fill a template, with style and scripts inlined."""
    environment = Environment(
        loader=PackageLoader("readout.analysis", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = lambda value, form: "–" if pd.isna(value) else form % value
    part = resources("readout.analysis") / "page"
    shared = {
        "style": Markup((part / "page.css").read_text(encoding="utf-8")),
        "theme": Markup((part / "theme.js").read_text(encoding="utf-8")),
        "script": Markup("".join((part / name).read_text(encoding="utf-8") for name in scripts)),
        "version": __version__,
    }
    return environment.get_template(template).render(**shared, **values)


def _default_page(outputs: Sequence[Output]) -> Path:
    folders = [output.store.folder for output in outputs]
    if len(folders) == 1:
        return folders[0] / PAGE
    return Path(os.path.commonpath([folder.resolve() for folder in folders])) / COMPARISON


def _written(output: Output, drawn: pd.DataFrame) -> dict[str, str]:
    """Write the figures of a folder, as PNG and SVG, and return SVG elements by name."""
    most = max(1, min(FIGURE_SAMPLES, FIGURE_ROWS // len(output.layers)))
    inputs = output.store.load_inputs(samples_on_page([output], most))
    with mpl.rc_context(plots.STYLE):
        if inputs and output.reads_inputs:
            pictured = plots.pictured(output.results, list(inputs))
            recovered = output.store.load_recovered(pictured["key"])
            output.store.write_figure("recovered", plots.recovered_images(pictured, inputs, recovered))
        return {name: output.store.write_figure(name, figure) for name, figure in _figures(output, drawn).items()}


def _drawn(output: Output, drawn: pd.DataFrame) -> dict[str, str]:
    """Draw the figures of a folder as SVG elements by name."""
    with mpl.rc_context(plots.STYLE):
        return {name: svg(figure) for name, figure in _figures(output, drawn).items()}


def _frontier(comparisons: Sequence[Comparison]) -> Markup:
    with mpl.rc_context(plots.STYLE):
        return Markup(svg(plots.figure_of(plots.frontier(comparisons))))


def _directions(sizes: pd.DataFrame) -> dict[str, Markup]:
    """Draw sizes by direction over all inputs and for some of them, where features of a network moved in several."""
    sizes = sizes[sizes.groupby("weights_digest")["perturbation"].transform("nunique") > 1]
    if sizes.empty:
        return {}
    samples = list(dict.fromkeys(sizes["sample"]))
    if len(samples) == 1:
        shown = {samples[0]: sizes}
    else:
        shown = {f"all {len(samples)} inputs": sizes}
        shown |= {sample: sizes[sizes["sample"] == sample] for sample in samples[:FIGURE_SAMPLES]}
    with mpl.rc_context(plots.STYLE):
        return {title: Markup(svg(plots.figure_of(plots.size_by_direction(rows)[0]))) for title, rows in shown.items()}


def _figures(output: Output, drawn: pd.DataFrame) -> dict[str, Figure]:
    inputs = drawn["sample"].unique()
    figures = {"recovery": _recovery(output, inputs), "sizes": plots.size_by_layer(output.sizes, inputs=inputs)}
    if output.iterates:
        figures["trajectories"] = plots.trajectories(drawn)[0]
    return {name: plots.figure_of(axes) for name, axes in figures.items()}


def _recovery(output: Output, inputs: Collection[str]) -> Axes:
    axes, predictions = plots.recovery(output.results, inputs=inputs), output.predictions
    return axes if predictions.empty else draw_prediction(predictions, axes)


def _colors(count: int, low: float, high: float) -> list[str]:
    """Return one colour per layer, from shallow to deep, without those invisible on the page."""
    return [to_hex(color) for color in mpl.colormaps["viridis"](np.linspace(low, high, count))]
