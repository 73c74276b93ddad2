"""Draw the pictures of docs/wandb.md from the files of offline W&B runs: ``python -m docs.wandb_pictures OUTPUT``.

They are not screenshots: they show the content of ``.wandb`` files, laid out as W&B shows it, without account or
server. Needs Chromium.
"""

import argparse
import base64
import io
import json
import shutil
import subprocess
import tempfile
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.callbacks.wandb_file import OfflineRun, read_runs

ASSETS = Path(__file__).parent / "assets"
CONFIG = ("layer", "model", "prior", "protocol", "lr", "steps", "inputs")
SUMMARY = {
    "representation_size/median": "size/median",
    "representation_size/lower_bounds": "size/lower_bounds",
    "verdicts/recovered": "verdicts/recovered",
    "verdicts/unrecovered": "…/unrecovered",
    "verdicts/not_converged": "…/not_converged",
}
COLUMNS = ("sample", "level", "representation_size", "lower_bound", "verdict", "distance", "recovered_feature_distance")
STYLE = """
body { font: 13px/1.35 sans-serif; margin: 0; padding: 14px; color: #222; background: #fff }
table { border-collapse: collapse; width: 100% } td, th { padding: 4px 9px; text-align: left; white-space: nowrap }
th { color: #666; font-weight: 600; border-bottom: 2px solid #ccc } td { border-bottom: 1px solid #e5e5e5 }
td.n { text-align: right; font-variant-numeric: tabular-nums } img.t { width: 44px; image-rendering: pixelated }
caption, p { color: #666; text-align: left; margin: 0 0 8px; font-size: 12px }
td.g { background: #f3f3f6; font-weight: 600 }
.panels { display: flex; flex-wrap: wrap; gap: 8px }
"""
HONEST = "Drawn from the offline runs' .wandb files; not W&amp;B's own screen."


def main() -> None:
    """Read the runs below an output folder and write three pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="output folder of a sweep with wandb.yaml")
    parser.add_argument("--assets", type=Path, default=ASSETS)
    given = parser.parse_args()
    runs = read_runs(given.output)
    layers = [run for run in runs if run.kind == "layer"]
    (whole,) = [run for run in runs if run.kind == "sweep"]
    shoot(given.assets / "wandb_runs.png", run_list(runs), width=1400, height=64 + 34 * (len(runs) + 2))
    shoot(given.assets / "wandb_panels.png", panels(layers, whole), width=1240, height=630)
    shoot(given.assets / "wandb_problems.png", problems(layers[1]), width=1000, height=560)


def run_list(runs: list[OfflineRun]) -> str:
    """Draw the table of runs, grouped, with the columns that the page recommends."""
    head = "".join(f"<th>{escape(name)}" for name in ("name", "job type", *CONFIG, *SUMMARY.values()))
    rows = [f"<tr><td class=g colspan=99>group: {escape(runs[0].group)} ({len(runs)} runs)"]
    for run in runs:
        values = [run.config.get(key, "") for key in CONFIG] + [run.summary().get(key, "") for key in SUMMARY]
        name = run.name.partition(" · ")[0]
        rows.append(f"<tr><td title='{escape(run.name)}'>{escape(name)}<td>{run.kind}{''.join(map(cell, values))}")
    return f"<p>{HONEST} Names are cut at the dot.<table><tr>{head}{''.join(rows)}</table>"


def panels(layers: list[OfflineRun], whole: OfflineRun) -> str:
    """Draw curves by level of two layers, sizes by layer, and a panel of pictures."""
    pictures = []
    for run in (layers[0], layers[-1]):
        figure, axes = new(4.0, 2.9)
        names = sorted(name for name in run.summary() if name.startswith("recovery/distance/"))
        for name, color in zip(names, mpl.colormaps["plasma"](np.linspace(0, 0.85, len(names))), strict=True):
            rows = [row for row in run.history if name in row]
            steps = [row["optimisation_step"] for row in rows]
            axes.plot(steps, run.column(name), color=color, label=name)
        axes.set(title=run.name.partition(" · ")[0], xlabel="optimisation_step")
        axes.legend(fontsize=6, frameon=False)
        pictures.append(figure)
    figure, axes = new(4.0, 2.9)
    for name, line in {"lower_quartile": ":", "upper_quartile": ":", "median": "o-"}.items():
        values = whole.column(f"size_by_layer/{name}")
        axes.plot(whole.column("layer_index"), values, line, lw=2, label=f"size_by_layer/{name}")
    axes.set(title=whole.name.partition(" · ")[0], xlabel="layer_index", ylim=(-0.02, 1))
    axes.legend(fontsize=6, frameon=False)
    pictures.append(figure)
    drawn = "".join(f"<div>{svg(figure)}</div>" for figure in pictures)
    files = [layers[0].files / name for name in layers[0].column("reconstructions.filenames")[-1]]
    captions = layers[0].column("reconstructions.captions")[-1]
    shown = "".join(
        f"<div><img height=110 style='image-rendering:pixelated' src='{embedded(file)}'><p>{escape(caption)}</div>"
        for file, caption in zip(files, captions, strict=True)
    )
    name = escape(layers[0].name.partition(" · ")[0])
    return (
        f"<p>{HONEST}<div class=panels>{drawn}</div><p><b>reconstructions</b> of {name}<div class=panels>{shown}</div>"
    )


def problems(run: OfflineRun) -> str:
    """Draw the head of a table of problems, with pictures."""
    files = run.artifacts["problems"]
    table = json.loads(files["problems.table.json"].read_text())
    places = {name: place for place, name in enumerate(table["columns"])}
    head = "".join(f"<th>{name}" for name in ("true", "recovered", *COLUMNS))
    rows = []
    for row in table["data"][:8]:
        shown = "".join(
            f"<td><img class=t src='{embedded(files[row[places[name]]['path']])}'>" for name in ("true", "recovered")
        )
        rows.append(f"<tr>{shown}{''.join(cell(row[places[name]]) for name in COLUMNS)}")
    name = escape(run.name.partition(" · ")[0])
    title = f"<b>problems</b> of {name}, first of {len(table['data'])} rows"
    return f"<p>{HONEST} {title}<table><tr>{head}{''.join(rows)}</table>"


def cell(value: Any) -> str:
    """Format a value of a table."""
    if isinstance(value, float):
        return f"<td class=n>{value:.4g}"
    return (
        f"<td class=n>{value}"
        if isinstance(value, int) and not isinstance(value, bool)
        else f"<td>{escape(str(value))}"
    )


def new(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure with axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def svg(figure: Figure) -> str:
    """Return a figure as an HTML element."""
    written = io.StringIO()
    figure.savefig(written, format="svg")
    return "<svg" + written.getvalue().partition("<svg")[2]


def embedded(path: Path) -> str:
    """Return a picture as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def shoot(path: Path, body: str, width: int, height: int) -> None:
    """Render a page with Chromium."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("Chromium is needed to draw the pictures; install it.")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{body}", encoding="utf-8")
        size = f"--window-size={width},{height}"
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
        ]
        command = [browser, *options, size, f"--screenshot={path.resolve()}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    main()
