"""Recovered inputs on a page: embedded pictures and texts up to a limit, and links to all files."""

import base64
import html
import io
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from PIL import Image
from torch import Tensor

from readout.analysis.comparison import all_layers
from readout.analysis.outputs import Output
from readout.analysis.plots import pictured
from readout.analysis.texts import marked
from readout.data.images import to_pixels
from readout.store import TOKENS

THUMBNAIL = 96
"""Longest side of a picture on the page, in pixels; ``recovered/`` has full size."""

MOST_ON_PAGE = 800
"""Default limit of embedded pictures or texts, about 4 MB; the others stay in their files."""


@dataclass(frozen=True)
class Row:
    """One input of one folder at one layer."""

    output: str
    sample: str
    true: str | None
    """Picture, as a data address, or text."""
    word: str | None
    """True signal, if signals are words."""
    cells: Mapping[float, Mapping[str, Any]]
    """Results by level, each with its ``index`` on the page, ``file``, and ``picture``, ``word`` or ``marked`` text."""


@dataclass(frozen=True)
class Section:
    """One layer, with rows of all folders, those of one input together."""

    layer: str
    levels: list[float]
    kind: str
    """``texts``, or ``pictures``, where words may stand for pictures."""
    rows: list[Row] = field(default_factory=list)


def shown_samples(samples: Iterable[str], layers: int, levels: int) -> list[str]:
    """Name the inputs that the page of one sweep embeds, as :func:`samples_on_page` does after the sweep.

    Args:
        samples: Names of all inputs.
        layers: Number of layers.
        levels: Number of perturbation levels.
    """
    return sorted(samples)[: _most_inputs(layers * (levels + 1))]


def samples_on_page(outputs: Sequence[Output], wanted: int | None = None) -> list[str]:
    """Name the inputs to embed in the page, in alphabetical order, those common to all folders first.

    Args:
        outputs: The folders.
        wanted: Number of inputs; None for as many as :data:`MOST_ON_PAGE` allows, at least one.
    """
    held = [set(output.samples) for output in outputs]
    common = set.intersection(*held)
    ordered = sorted(common) + sorted(set.union(*held) - common)
    return ordered[: wanted or _most_inputs(sum(len(output.layers) * (len(output.levels) + 1) for output in outputs))]


def sections(
    outputs: Sequence[Output],
    drawn: Sequence[pd.DataFrame],
    samples: Collection[str],
    files: Sequence[Mapping[str, str]],
) -> list[Section]:
    """Collect what was read in the first draw, by layer.

    Args:
        outputs: The folders.
        drawn: Problems that the page refers to by their position, per folder, of these inputs among others; see
            :meth:`readout.analysis.outputs.Output.drawn`.
        samples: Names of the inputs; see :func:`samples_on_page`.
        files: Addresses by key, per folder; see :func:`addresses`.
    """
    found: dict[tuple[str, str], list[Row]] = {
        (layer, kind): [] for layer in all_layers(outputs) for kind in ("pictures", "texts")
    }
    for place, output in enumerate(outputs):
        first = sum(map(len, drawn[:place]))
        shown = pictured(drawn[place], samples)
        inputs = output.store.load_inputs(shown["sample"].unique())
        words = output.words
        if not (words or output.reads_inputs):
            continue
        recovered = {} if words else output.store.load_recovered(shown[shown["sample"].isin(list(inputs))]["key"])
        for (layer, sample), group in shown.groupby(["layer", "sample"], sort=False):
            cells: dict[float, dict[str, Any]] = {
                row["level"]: {**row, "index": first + number, "file": files[place].get(row["key"])}
                | ({"word": row[words[1]]} if words else _shown(row, recovered))
                for number, row in _numbered(group)
            }
            true = thumbnail(inputs[str(sample)]) if sample in inputs else group.iloc[0].get("true_text")
            word = group.iloc[0][words[0]] if words else None
            if true is None and word is None:
                continue
            kind = "pictures" if sample in inputs or words else "texts"
            found[str(layer), kind].append(Row(output.name, str(sample), true, word, cells))
    order = list(samples)
    return [
        Section(
            layer,
            sorted({level for row in rows for level in row.cells}),
            kind,
            sorted(rows, key=lambda row: order.index(row.sample)),
        )
        for (layer, kind), rows in found.items()
        if rows
    ]


def addresses(output: Output, drawn: pd.DataFrame, folder: Path) -> dict[str, str]:
    """Return addresses of recovered inputs by key, relative to the page.

    Files are named by layer, input, level, draw and reading. If several results in a folder share a name, the file
    belongs to the one written last, so they have no address.

    Args:
        output: The output folder.
        drawn: Problems with recovered inputs to address; see :meth:`readout.analysis.outputs.Output.drawn`.
        folder: Folder of the page.
    """
    named = ["layer", "sample", "level", "draw", "reading"]
    everything = output.store.load(columns=[*named, "key"])
    everything = everything[everything["sample"].isin(drawn["sample"])]
    twice = set(everything.loc[everything.duplicated(named, keep=False), "key"])
    suffix = "txt" if "recovered_text" in drawn else "png"
    found = {}
    for row in drawn[[*named, "key"]].to_dict("records"):
        path = output.store.readable_path({str(name): value for name, value in row.items()}, suffix)
        if row["key"] not in twice and path.is_file():
            found[row["key"]] = address(path, folder)
    return found


def input_addresses(output: Output, drawn: pd.DataFrame, folder: Path) -> dict[str, str]:
    """Return addresses of the pictures of true inputs by sample, relative to the page; see :func:`addresses`."""
    return {name: address(path, folder) for name, path in output.store.input_files(drawn["sample"].unique()).items()}


def address(path: Path, folder: Path) -> str:
    """Return the address of a file, relative to a page in ``folder``.

    Examples:
        >>> address(Path("runs/vgg dip/report.html"), Path("runs"))
        'vgg%20dip/report.html'
    """
    return quote(Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix())


def thumbnail(image: Tensor) -> str:
    """Return a picture as a data address, at most :data:`THUMBNAIL` pixels wide and high."""
    picture = Image.fromarray(to_pixels(image))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    png, webp = io.BytesIO(), io.BytesIO()
    picture.save(png, format="png", optimize=True)
    picture.save(webp, format="webp", quality=90)
    # small or flat pictures take fewer bytes as PNG
    kind, buffer = min((("png", png), ("webp", webp)), key=lambda written: len(written[1].getvalue()))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _most_inputs(pictures: int) -> int:
    """Return how many inputs of so many pictures each fit on a page, at least one."""
    return max(1, MOST_ON_PAGE // pictures)


def _numbered(group: pd.DataFrame) -> list[tuple[int, dict[str, Any]]]:
    """Pair rows with their position in the table."""
    rows = [{str(name): value for name, value in row.items()} for row in group.to_dict("records")]
    return list(zip(map(int, group.index), rows, strict=True))


def _shown(row: Mapping[str, Any], recovered: Mapping[str, Tensor]) -> dict[str, Any]:
    if row["key"] in recovered:
        return {"picture": thumbnail(recovered[row["key"]])}
    if not isinstance(row.get("recovered_text"), str):
        return {}
    if set(TOKENS) <= row.keys():
        return {"marked": marked(*(row[name] for name in TOKENS))}
    return {"marked": html.escape(row["recovered_text"])}
