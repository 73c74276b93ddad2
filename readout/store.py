"""Results on disk: Parquet parts, each written whole or not at all, found again by problem key."""

import io
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from matplotlib.figure import Figure
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from readout.checks import check_threshold
from readout.data.images import is_image, read_image, write_png
from readout.errors import ReadoutError
from readout.files import readable, write_whole
from readout.identity import digest
from readout.problems import Setting
from readout.representation import verdict

# fmt: off
COLUMNS = (
    "model", "weights", "weights_digest", "prior", "protocol", "layer", "layer_index", "feature_dim", "input_dim",
    "sample", "label", "level", "draw", "seed", "threshold", "metric", "distance", "best_distance", "best_step",
    "feature_distance", "recovered_feature_distance", "loss", "floor", "scale", "dead", "tolerance", "verdict",
    "steps", "restarts", "seconds", "setting", "key",
)
# fmt: on
"""Columns of every results table; further metrics follow."""

TRAJECTORY = ("trajectory_step", "trajectory_loss", "trajectory_distance", "trajectory_recovered_feature_distance")
"""Columns that hold a list a problem: what was recorded along the way."""

TOKENS = ("true_tokens", "recovered_tokens", "wrong_tokens")
"""Columns of texts that hold a list a problem: tokens, and the places of wrong ones; ``true_text`` and
``recovered_text`` are whole."""


XML = '<?xml version="1.0" encoding="utf-8"?>\n'


class ResultStore:
    """The output folder of a sweep: ``results/``, ``recovered/`` and ``inputs/``.

    Args:
        folder: Made with the first thing that is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.results = self.folder / "results"
        self.recovered = self.folder / "recovered"
        self.inputs = self.folder / "inputs"
        self._keys: dict[tuple[Path, int], list[str]] = {}

    def finished(self) -> set[str]:
        """Keys of the problems that have an answer, by whatever process; only new parts are read.

        Raises:
            ReadoutError: if a part can't be read.
        """
        for path in self._parts():
            part = path, path.stat().st_mtime_ns
            if part not in self._keys:
                self._keys[part] = _read_part(path, lambda name: name == "key")["key"].tolist()
        return {key for keys in self._keys.values() for key in keys}

    def set_aside_broken(self) -> list[str]:
        """Rename parts that can't be read, together with what was recovered, so that they count as not there.

        Returns:
            A sentence for each file that can't be read.
        """
        sentences = []
        for path in self._parts():
            tensors = self.recovered / f"{path.stem}.safetensors"
            damaged = [part for part in (path, tensors) if part.exists() and not _is_readable(part)]
            if damaged:
                for part in (tensors, path):
                    if part.exists():
                        part.replace(part.with_name(f"{part.name}.broken"))
            sentences += [
                f"{part} can't be read; it is now {part.name}.broken, and its problems are computed again"
                for part in damaged
            ]
        return sentences

    def append(self, table: pd.DataFrame, recovered: Iterable[Tensor]) -> None:
        """Save a batch: the recovered inputs first, its table last, so that a key is finished or absent.

        Args:
            table: One row a problem, of :data:`COLUMNS`, :data:`TRAJECTORY` and further metrics.
            recovered: The recovered input of each.

        Raises:
            ReadoutError: if the disk is full or the folder can't be written.
        """
        name = digest(table["key"].tolist())[:16]
        tensors = {key: x.contiguous() for key, x in zip(table["key"], recovered, strict=True)}
        write_whole(self.recovered / f"{name}.safetensors", lambda path: save_file(tensors, path))
        for row in _records(table):
            if is_image(tensors[row["key"]]):
                write_whole(self.recovered / readable_name(row, "png"), partial(write_png, tensors[row["key"]]))
            elif "recovered_text" in row:
                true = f"true:      {row['true_text']}\n" if isinstance(row["true_text"], str) else ""  # not known
                lines = f"{true}recovered: {row['recovered_text']}\n"
                write_whole(self.recovered / readable_name(row, "txt"), partial(_write_lines, lines))
        columns = [*COLUMNS, *(column for column in table.columns if column not in COLUMNS)]
        parquet = pa.Table.from_pandas(table[columns], preserve_index=False)
        write_whole(self.results / f"{name}.parquet", lambda path: pq.write_table(parquet, path))

    def save_input(self, sample: str, x: Tensor) -> None:
        """Keep a true input beside what was recovered of it, if it is an image.

        Raises:
            ReadoutError: if the disk is full or the folder can't be written.
        """
        if is_image(x):
            write_whole(self._input_path(sample), lambda path: write_png(x, path))

    def load(self, trajectories: bool = False) -> pd.DataFrame:
        """One table of everything, one row a problem; see :func:`load_results`.

        Raises:
            ReadoutError: if a part can't be read.
        """
        parts = [_read_part(path, lambda name: trajectories or name not in TRAJECTORY) for path in self._parts()]
        if not parts:
            return pd.DataFrame(columns=list(COLUMNS))
        table = pd.concat(parts, ignore_index=True).drop_duplicates("key")
        return table.sort_values(["model", "setting", "layer_index", "sample", "draw", "level"], ignore_index=True)

    def load_recovered(self, keys: Iterable[str]) -> dict[str, Tensor]:
        """Recovered inputs of the given problems, lossless.

        Raises:
            ReadoutError: if one can't be read, or is not there.
        """
        wanted = set(keys)
        found: dict[str, Tensor] = {}
        for path in sorted(self.recovered.glob("*.safetensors")):
            try:
                with safe_open(path, framework="pt") as part:
                    # of a key that two processes finished, the first counts, as in the table
                    found |= {key: part.get_tensor(key) for key in wanted.intersection(part.keys()) - found.keys()}
            except (SafetensorError, OSError) as error:
                raise _broken(path) from error
        if missing := len(wanted - found.keys()):
            raise ReadoutError(
                f"{missing} of {len(wanted)} recovered inputs are not in {str(self.recovered)!r}; put its .safetensors "
                "files back, or delete the results and run the same command again."
            )
        return found

    def load_inputs(self, samples: Iterable[str]) -> dict[str, Tensor]:
        """True inputs that were kept as pictures, by sample name."""
        return {sample: read_image(path) for sample, path in self.input_files(samples).items()}

    def input_files(self, samples: Iterable[str]) -> dict[str, Path]:
        """Their files."""
        paths = {sample: self._input_path(sample) for sample in samples}
        return {sample: path for sample, path in paths.items() if path.exists()}

    def latest_setting(self) -> str:
        """The setting of the part written last."""
        latest = max(self._parts(), key=lambda path: path.stat().st_mtime)
        return str(_read_part(latest, lambda name: name == "setting")["setting"].iloc[-1])

    def write_figure(self, name: str, figure: Figure) -> str:
        """Write a figure as PNG and SVG into ``figures/``.

        Returns:
            The SVG element, to be put into a page.

        Raises:
            ReadoutError: if the disk is full or the folder can't be written.
        """
        path = self.folder / "figures" / name
        write_whole(path.with_suffix(".png"), lambda file: figure.savefig(file, format="png", dpi=150))
        vector = svg(figure)
        write_whole(path.with_suffix(".svg"), lambda file: file.write_text(XML + vector, encoding="utf-8"))
        return vector

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file into the folder, whole or not at all.

        Raises:
            ReadoutError: if the disk is full or the folder can't be written.
        """
        return write_whole(self.folder / name, partial(_write_lines, text))

    def write_setting(self, setting: Setting) -> None:
        """Keep what a setting is, under its digest.

        Raises:
            ReadoutError: if the disk is full or the folder can't be written.
        """
        self.write_text(self._setting(setting.digest), yaml.safe_dump(asdict(setting), sort_keys=False))

    def read_setting(self, digest: str) -> dict[str, Any]:
        """What a setting is; empty if that was not kept.

        Raises:
            ReadoutError: if it can't be read.
        """
        return _read_yaml(self.folder / self._setting(digest))

    def _setting(self, digest: str) -> str:
        return f"settings/{digest}.yaml"

    def _input_path(self, sample: str) -> Path:
        return self.inputs / f"{safe_name(sample)}.png"

    def _parts(self) -> list[Path]:
        with readable(self.folder):
            return sorted(self.results.glob("*.parquet"))


def svg(figure: Figure) -> str:
    """A figure as an SVG element, to be put into a page."""
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()[written.getvalue().index("<svg") :]


def load_results(folder: str | Path, threshold: float | None = None, trajectories: bool = False) -> pd.DataFrame:
    """One table of every result in an output folder, one row a problem.

    Args:
        folder: Output folder of a sweep.
        threshold: Judge under this t; None for that of the folder's last sweep, with its tolerance.
        trajectories: Also load what was recorded along the way (columns :data:`TRAJECTORY`).

    Raises:
        ReadoutError: if the folder holds no results, or a part or its configuration can't be read.
    """
    if threshold is not None:
        check_threshold("threshold", threshold)
    table = ResultStore(folder).load(trajectories)
    if table.empty:
        begun = (Path(folder) / "checkpoints").is_dir()
        advice = "it has not finished a batch yet" if begun else "give the output folder of a sweep, or run it first"
        raise ReadoutError(f"{str(folder)!r} holds no results; {advice}.")
    last = read_config(folder).get("sweep") or {}
    threshold = threshold or last.get("threshold")
    return table if threshold is None else judge(table, threshold, last.get("tolerance"))


def read_config(folder: str | Path) -> dict[str, Any]:
    """The configuration kept with the results, that of the last sweep; empty if there is none.

    Raises:
        ReadoutError: if it can't be read.
    """
    return _read_yaml(Path(folder) / "config.yaml")


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ReadoutError(f"{str(path)!r} can't be read as YAML; restore it, or delete it.") from error
    return loaded if isinstance(loaded, dict) else {}


def judge(table: pd.DataFrame, threshold: float, tolerance: float | None = None) -> pd.DataFrame:
    """The same results with the verdicts that a threshold and a tolerance give.

    Args:
        table: One row a problem.
        threshold: t, in units of d_X.
        tolerance: See :func:`readout.representation.verdict`; None keeps each row's own.

    Returns:
        The table; without a verdict (None) where the true input is not known.
    """
    if tolerance is not None:
        table = table.assign(tolerance=tolerance)
    names = ["distance", "loss", "floor", "scale", "tolerance", "dead"]
    verdicts = [
        None
        if np.isnan([distance, floor, scale]).all() and not dead
        else verdict(distance, loss, floor, scale, threshold, tolerated, dead).value
        for distance, loss, floor, scale, tolerated, dead in table[names].itertuples(index=False)
    ]
    return table.assign(threshold=threshold, verdict=pd.Series(verdicts, index=table.index))


def readable_name(row: dict[str, Any], suffix: str) -> str:
    """Path inside ``recovered/`` of what was recovered as a picture or text."""
    name = f"{safe_name(row['layer'])}/{safe_name(row['sample'])}"
    given = math.isnan(row["level"])
    return f"{name}.{suffix}" if given else f"{name}/level={row['level']}_draw={row['draw']}.{suffix}"


def safe_name(name: str) -> str:
    """A file name that stands for a sample or layer; different names never give the same file."""
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", name).strip(".")[:100]
    looks_made = re.search(r"-[0-9a-f]{8}$", name) is not None
    return safe if safe == name and not looks_made else f"{safe}-{digest(name)[:8]}"


def _read_part(path: Path, keep: Callable[[str], bool]) -> pd.DataFrame:
    """The columns of a part whose names ``keep`` says to keep."""
    try:
        names = pq.read_schema(path).names
        if "key" not in names:
            raise _broken(path)
        wanted = [name for name in names if keep(name)]
        table: pd.DataFrame = pq.read_table(path, columns=wanted).to_pandas()
        return table
    except (pa.ArrowException, OSError) as error:
        raise _broken(path) from error


def _is_readable(path: Path) -> bool:
    """Whether a part or a file of recovered inputs is whole, as far as its beginning and end tell."""
    try:
        if path.suffix == ".parquet":
            return "key" in pq.read_schema(path).names
        with safe_open(path, framework="pt"):
            return True
    except (pa.ArrowException, SafetensorError, OSError):
        return False


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _broken(path: Path) -> ReadoutError:
    return ReadoutError(
        f"The results file {str(path)!r} can't be read; delete it and run the same command again: only its own "
        "problems are computed anew."
    )


def _write_lines(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
