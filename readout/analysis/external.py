"""Table and page of the inputs recovered from external features."""

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import yaml
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from readout.analysis import plots
from readout.analysis.drawn import with_trajectories
from readout.analysis.gallery import thumbnail
from readout.analysis.report import render
from readout.analysis.sizes import SIGNALS, reader_of, signal_of, symbol_of
from readout.analysis.texts import marked
from readout.analysis.words import VERDICTS_OF_EXTERNAL
from readout.common.errors import ReadoutError
from readout.common.files import read_whole, user_path
from readout.readouts.inversion.protocols import TokenByToken
from readout.store import TOKENS, TRAJECTORY, ResultStore, load_results, read_config

BY_LAYER = ("target_distance", "loss", "feature_distance")
"""Columns with one value per layer, named ``NAME.LAYER``."""

# fmt: off
COLUMNS = (
    "sample", "layer", "loss", "distance", "floor", "verdict", "threshold", "steps", "restarts", "dead", "seconds",
    "model", "weights", "weights_digest", "readout", "prior", "protocol", "metric", "seed", "setting", "key",
)
# fmt: on
"""First columns of ``recovered.csv``, before those by layer and further metrics."""

TEXTS = ("recovered_text", "true_text")
"""Further columns where inputs are texts."""

ASKED = "keys.txt"
"""File with the keys of the features that the last `invert` into the folder took, one per line."""

MOST_CURVES = 10
"""Most curves in the figure of losses: the number of Matplotlib's colours."""

MOST_LINES = 20
"""Most features in the printed table."""


def layers_of(results: pd.DataFrame) -> list[str]:
    """List the layers of the external features, shallow ones first."""
    prefix = f"{BY_LAYER[0]}."
    layers = [str(column).removeprefix(prefix) for column in results if str(column).startswith(prefix)]
    filled = {*results.columns[results.notna().any()]}  # other settings in the folder may have had other layers
    return [layer for layer in layers if filled.intersection(f"{name}.{layer}" for name in BY_LAYER)]


def external_table(results: pd.DataFrame) -> pd.DataFrame:
    """Select and order the columns of ``recovered.csv``, one row per feature.

    Args:
        results: Results of :meth:`readout.sweep.external.ExternalSweep.run`.

    Returns:
        :data:`COLUMNS` and :data:`TEXTS`, then :data:`BY_LAYER` for each layer, then further metrics, without empty
        columns.
    """
    first, texts = COLUMNS[:2], [name for name in TEXTS if name in results]
    by_layer = [f"{name}.{layer}" for layer in layers_of(results) for name in BY_LAYER]
    after = list(results.columns).index("key") + 1  # the store appends further columns
    more = [name for name in results.columns[after:] if name not in (*by_layer, *TRAJECTORY, *TEXTS, *TOKENS)]
    wanted = [*first, *texts, *COLUMNS[len(first) :], *by_layer, *more]
    return results[wanted].dropna(axis="columns", how="all")


def print_external(results: pd.DataFrame, console: Console) -> None:
    """Print a row per feature, at most :data:`MOST_LINES`, with recovered texts in full."""
    known = results["distance"].notna().any()
    texts = "recovered_text" in results and results["recovered_text"].notna().any()
    words = SIGNALS.get(signal_of(results))
    # column → heading and format
    scores = {"loss": ("loss", ".4g")}
    scores |= {f"target_distance.{layer}": (f"d_H to {layer}", ".3f") for layer in layers_of(results)}
    scores |= {"distance": (symbol_of(results), ".3f")}
    scores = {column: how for column, how in scores.items() if results[column].notna().any()}
    table = Table(title="Recovered inputs", title_justify="left", expand=bool(texts))
    table.add_column("feature")
    for name in (*(name for name, _ in scores.values()), *(["verdict"] if known else [])):
        table.add_column(Text(name), justify="right")
    if texts or words:
        table.add_column("recovered", ratio=1, overflow="fold")
    for row in results.head(MOST_LINES).to_dict("records"):
        cells = [_number(row[column], form) for column, (_, form) in scores.items()]
        if known:
            cells += ["–" if pd.isna(row["verdict"]) else row["verdict"].replace("_", " ")]
        found = [_printed({str(name): value for name, value in row.items()})] if texts else []
        found += [Text(str(row[words[1]]))] if words else []
        table.add_row(Text(str(row["sample"])), *cells, *found)
    console.print(table)
    if len(results) > MOST_LINES:
        console.print(f"and {len(results) - MOST_LINES} more in recovered.csv", highlight=False)


def holds_external(folder: str | Path) -> bool:
    """Return whether an output folder is of external features and not of a sweep."""
    results = ResultStore(folder).load(columns=["level"])
    return not results.empty and bool(results["level"].isna().all())


def report_external(folder: str | Path) -> Path:
    """Rewrite table, figure and page of the last `invert` into a folder, from its results on disk.

    Returns:
        Path of the page.

    Raises:
        ReadoutError: if the folder does not list the features of that command, or none of them is finished.
    """
    path = user_path(folder) / ASKED
    if not path.is_file():
        raise ReadoutError(
            f"There is no {str(path)!r}, which lists the features of the last `invert`; run the same command again: "
            "what is finished is not computed twice."
        )
    keys = asked_keys(path)
    results = load_results(folder)
    asked = results[results["key"].isin(keys)]
    if asked.empty:
        raise ReadoutError(
            f"Nothing of the last `invert` into {str(folder)!r} is finished; run the same command again to go on."
        )
    return write_external(folder, asked.reset_index(drop=True))


def asked_keys(path: Path) -> list[str]:
    """Read the keys in an :data:`ASKED` file.

    Raises:
        ReadoutError: if the file was changed or holds no keys.
    """
    advice = "run the same command again: what is finished is not computed twice"
    keys = [line for line in read_whole(path, advice).splitlines() if not line.startswith("#")]
    if not keys or not all(re.fullmatch("[0-9a-f]+", key) for key in keys):
        raise ReadoutError(f"{str(path)!r} names no feature; {advice}.")
    return keys


def write_external(folder: str | Path, results: pd.DataFrame) -> Path:
    """Write ``recovered.csv``, the figure of losses and ``report.html``.

    Args:
        folder: The output folder.
        results: One row per feature to show.

    Returns:
        Path of the page.
    """
    store = ResultStore(folder)
    store.write_text("recovered.csv", external_table(results).to_csv(index=False))
    curves, words = None, SIGNALS.get(signal_of(results))
    if (results["steps"] > 0).any():
        first = with_trajectories(results.head(MOST_CURVES), store, "trajectory_loss")
        with mpl.rc_context(plots.STYLE):
            curves = store.write_figure("losses", plots.figure_of(losses(first)))
    inputs, recovered = store.load_inputs(results["sample"]), store.load_recovered(results["key"])
    rows = [
        row
        | {"verdict": None if pd.isna(row["verdict"]) else row["verdict"]}
        | _shown({str(name): value for name, value in row.items()}, words, recovered.get(row["key"]), inputs)
        for row in results.to_dict("records")
    ]
    page = render(
        "external.html.j2",
        first=results.iloc[0],
        rows=rows,
        layers=layers_of(results),
        words=words,
        symbol=symbol_of(results),
        known=int(results["distance"].notna().sum()),
        texts=any("text" in row for row in rows),
        along=_steps(results),
        curves=min(len(results), MOST_CURVES),
        losses=curves,
        verdicts={kind.value: meaning for kind, meaning in VERDICTS_OF_EXTERNAL.items()},
        steps=int(results["steps"].max()),
        reader=reader_of(results),
        config=yaml.safe_dump(read_config(folder), sort_keys=False),
        asked=len(asked_keys(store.folder / ASKED)),
        gone=len(results) - len(store.finished() & {*results["key"]}),
    )
    return store.write_text("report.html", page)


def _shown(
    row: Mapping[str, Any], words: tuple[str, str] | None, recovered: Tensor | None, inputs: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return ``image``, ``word`` or ``text`` of a feature, and ``true`` where the input is known, as HTML."""
    known = pd.notna(row["distance"])
    if recovered is None:
        return {}
    if words is None and not recovered.is_floating_point():
        if not known:
            return {"text": Markup(html.escape(row["recovered_text"]))}
        return {"text": Markup(marked(*(row[name] for name in TOKENS))), "true": row["true_text"]}
    if words is None and recovered.ndim == 1:  # a code, by its active latents
        active = recovered.nonzero().flatten().tolist()
        return {"word": ", ".join(f"{latent}: {float(recovered[latent]):.3g}" for latent in active)}
    true = {"true": thumbnail(inputs[row["sample"]])} if known and row["sample"] in inputs else {}
    return {**true, "word": row[words[1]]} if words else {**true, "image": thumbnail(recovered)}


def _printed(row: Mapping[str, Any]) -> Text:
    """Format a recovered text with wrong tokens in red, and the true text below if they differ."""
    if pd.isna(row["distance"]):
        return Text(_in_a_line(row["recovered_text"]) if isinstance(row["recovered_text"], str) else "")
    text = Text()
    for place, token in enumerate(row["recovered_tokens"]):
        text.append(_in_a_line(token), "bold red" if place in row["wrong_tokens"] else None)
    if len(row["wrong_tokens"]):
        text.append(f"\ntrue: {_in_a_line(row['true_text'])}", "dim")
    return text


def _number(value: float, form: str) -> str:
    return "–" if pd.isna(value) else format(value, form)


def _steps(results: pd.DataFrame) -> str:
    """Label the axis of steps."""
    return "tokens read" if (results["protocol"] == TokenByToken.name).all() else "optimisation step"


def _in_a_line(text: str) -> str:
    return text.replace("\n", " ")


def losses(results: pd.DataFrame, axes: Axes | None = None) -> Axes:
    """Plot loss against optimisation step, one curve per feature, with a dashed line at its true input's loss.

    Args:
        results: One row per feature, trajectories included; the first :data:`MOST_CURVES` are drawn.
        axes: Axes to draw on; a new figure if None.
    """
    axes = axes or Figure(figsize=(6.4, 3.4), layout="constrained").subplots()
    for row in results.head(MOST_CURVES).to_dict("records"):
        (line,) = axes.plot(row["trajectory_step"], row["trajectory_loss"], label=plots.label(row["sample"]))
        if pd.notna(row["floor"]):
            axes.axhline(row["floor"], color=line.get_color(), lw=0.8, ls="--")
    positive = any(np.any(np.asarray(one) > 0) for one in results["trajectory_loss"].head(MOST_CURVES))
    axes.set(xlabel=_steps(results), ylabel="loss", yscale="log" if positive else "linear")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.02))
    return axes
