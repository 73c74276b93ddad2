"""Results on disk: Parquet parts, each written whole or not at all, looked up by problem key."""

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from matplotlib.figure import Figure
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from readout.common.checks import check_choice, check_number, check_threshold
from readout.common.errors import ReadoutError
from readout.common.files import read_whole, readable, user_path, write_whole
from readout.common.seal import COMMENT, UNSEALED, is_damaged
from readout.data.images import is_image, read_image, write_png
from readout.problems import Setting
from readout.problems.identity import digest
from readout.problems.names import forget_listings, own_path, safe_name, set_aside
from readout.representation import Estimator, verdicts

# fmt: off
COLUMNS = (
    "model", "weights", "weights_digest", "readout", "prior", "protocol", "layer", "layer_index", "feature_dim",
    "input_dim", "sample", "label", "level", "draw", "reading", "seed", "threshold", "signal", "metric", "distance",
    "spread", "best_distance", "best_step", "feature_distance", "recovered_feature_distance", "loss", "floor", "scale",
    "dead", "tolerance", "verdict", "steps", "restarts", "seconds", "setting", "key",
)
# fmt: on
"""Columns of every results table; further metrics follow."""

TRAJECTORY = ("trajectory_step", "trajectory_loss", "trajectory_distance", "trajectory_recovered_feature_distance")
"""Columns that hold a list per problem: its values at the recorded steps."""

TOKENS = ("true_tokens", "recovered_tokens", "wrong_tokens")
"""Columns of texts that hold a list per problem: tokens, and positions of wrong ones. ``true_text`` and
``recovered_text`` hold whole texts."""

_SORTED = ["model", "setting", "layer_index", "sample", "draw", "level"]

_JUDGED = ["distance", "loss", "floor", "scale", "tolerance", "dead"]

_NEEDED = {"key", "layer", "threshold", *_SORTED, *_JUDGED}
"""Columns that every part must have."""

_LATER = {"readout": None, "reading": 0, "signal": "input", "spread": math.nan}
"""Columns that older parts lack, with the value that stands for them."""

XML = '<?xml version="1.0" encoding="utf-8"?>\n'


class ResultStore:
    """Output folder of a sweep: ``results/``, ``recovered/`` and ``inputs/``.

    Args:
        folder: Path of the folder; made on the first write.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = user_path(folder)
        self.results = self.folder / "results"
        self.recovered = self.folder / "recovered"
        self.inputs = self.folder / "inputs"
        self._keys: dict[tuple[Path, int], list[str]] = {}
        self._checked: dict[Path, int] = {}

    def finished(self) -> set[str]:
        """Return the keys of all problems with an answer, from any process; only new parts are read.

        A part without its recovered inputs does not count, so its problems are computed again.

        Raises:
            ReadoutError: if a part can't be read.
        """
        found: set[str] = set()
        for path in self._parts():
            part = path, path.stat().st_mtime_ns
            if part not in self._keys:
                self._keys[part] = _read_part(path, lambda name: name == "key")["key"].tolist()
            if self._tensors(path).exists():
                found.update(self._keys[part])
        return found

    def set_aside_broken(self) -> list[str]:
        """Rename unreadable parts together with their recovered inputs, so that they count as absent.

        Returns:
            One sentence per unreadable file.
        """
        tables = {path.stem: path for path in self._parts()}
        tensors = {path.stem: path for path in self.recovered.glob("*.safetensors")}
        sentences = []
        for stem in sorted(tables.keys() | tensors.keys()):
            parts = [of[stem] for of in (tables, tensors) if stem in of]  # a table without its tensors would count
            damaged = [part for part in parts if not self._is_readable(part)]
            for part in parts if damaged else []:
                sentence = set_aside(part, "its problems are computed again")
                sentences += [sentence] * (part in damaged)
        return sentences

    def append(self, table: pd.DataFrame, recovered: Iterable[Tensor]) -> None:
        """Save a batch: recovered inputs first, table last, so that a key is either finished or absent.

        Args:
            table: One row per problem, of :data:`COLUMNS`, :data:`TRAJECTORY` and further metrics.
            recovered: Recovered input of each problem; an empty tensor if there is none.

        Raises:
            ReadoutError: if the disk is full or the folder can't be written.
        """
        name = digest(table["key"].tolist())[:16]
        tensors = {key: x.contiguous() for key, x in zip(table["key"], recovered, strict=True) if x.numel()}
        write_whole(self.recovered / f"{name}.safetensors", lambda path: save_file(tensors, path))
        for row in _records(table[table["key"].isin(list(tensors))]):
            forget_listings()
            if is_image(tensors[row["key"]]):
                write_whole(self.readable_path(row, "png"), partial(write_png, tensors[row["key"]]))
            elif "recovered_text" in row:
                true = f"true:      {row['true_text']}\n" if isinstance(row["true_text"], str) else ""
                lines = f"{true}recovered: {row['recovered_text']}\n"
                write_whole(self.readable_path(row, "txt"), partial(_write_lines, lines))
        columns = [*COLUMNS, *(column for column in table.columns if column not in COLUMNS)]
        parquet = pa.Table.from_pandas(table[columns], preserve_index=False)
        parquet = parquet.replace_schema_metadata({**parquet.schema.metadata, "seal": UNSEALED})
        write_whole(self.results / f"{name}.parquet", lambda path: pq.write_table(parquet, path))

    def save_input(self, sample: str, x: Tensor) -> None:
        """Save a true input as a picture, if it is an image.

        Raises:
            ReadoutError: if the disk is full or the folder can't be written.
        """
        forget_listings()
        if is_image(x):
            write_whole(self._input_path(sample), lambda path: write_png(x, path))

    def load(self, trajectories: bool = False) -> pd.DataFrame:
        """Return all results as one table, one row per problem; see :func:`load_results`.

        Raises:
            ReadoutError: if a part can't be read.
        """
        parts = [_read_part(path, lambda name: trajectories or name not in TRAJECTORY) for path in self._parts()]
        if not parts:
            return pd.DataFrame(columns=list(COLUMNS))
        older = any(_LATER.keys() - {*part} for part in parts)
        if older:
            parts = [part.assign(**{name: _LATER[name] for name in _LATER.keys() - {*part}}) for part in parts]
        table = pd.concat(parts, ignore_index=True).drop_duplicates("key")
        if older:  # an older part has the readout of newer ones of its setting
            table["readout"] = table.groupby("setting")["readout"].transform("first")
        return table.sort_values([*_SORTED, "reading"], ignore_index=True)

    def load_recovered(self, keys: Iterable[str]) -> dict[str, Tensor]:
        """Return the recovered inputs of these problems as they were saved, as far as there are any.

        Raises:
            ReadoutError: if a file can't be read.
        """
        wanted = set(keys)
        found: dict[str, Tensor] = {}
        for path in sorted(self.recovered.glob("*.safetensors")):
            if wanted == found.keys():
                break
            # if two processes finished a key, the first counts, as in the table
            found |= self._read_tensors(path, wanted - found.keys())
        return found

    def readable_path(self, row: dict[str, Any], suffix: str) -> Path:
        """Return the path of a recovered input as a picture or text."""
        folder = own_path(self.recovered, row["layer"])
        if math.isnan(row["level"]):
            return own_path(folder, row["sample"], f".{suffix}")
        return own_path(folder, row["sample"]) / f"{_variant(row)}.{suffix}"

    def load_inputs(self, samples: Iterable[str]) -> dict[str, Tensor]:
        """Return the true inputs that were saved as pictures, by sample name.

        Raises:
            ReadoutError: if a picture can't be read.
        """
        return {sample: _read_input(path) for sample, path in self.input_files(samples).items()}

    def input_files(self, samples: Iterable[str]) -> dict[str, Path]:
        """Return the paths of true inputs that were saved as pictures, by sample name."""
        paths = {sample: self._input_path(sample) for sample in samples}
        return {sample: path for sample, path in paths.items() if path.exists()}

    def latest_setting(self) -> str:
        """Return the digest of the setting of the newest part."""
        latest = max(self._parts(), key=lambda path: path.stat().st_mtime)
        return str(_read_part(latest, lambda name: name == "setting")["setting"].iloc[-1])

    def write_figure(self, name: str, figure: Figure) -> str:
        """Write a figure as PNG and SVG into ``figures/``.

        Returns:
            The SVG element, for a page.

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
        """Save a setting under its digest.

        Raises:
            ReadoutError: if the disk is full or the folder can't be written.
        """
        self.write_text(self._setting(setting.digest), COMMENT + yaml.safe_dump(asdict(setting), sort_keys=False))

    def read_setting(self, digest: str) -> dict[str, Any]:
        """Return a setting by its digest; empty if it was not saved.

        Raises:
            ReadoutError: if the file can't be read.
        """
        return _read_yaml(self.folder / self._setting(digest), "restore it, or delete it and the page is made without")

    def _setting(self, digest: str) -> str:
        return f"settings/{digest}.yaml"

    def _input_path(self, sample: str) -> Path:
        return own_path(self.inputs, sample, ".png")

    def _tensors(self, part: Path) -> Path:
        """Return the path of a part's recovered inputs."""
        return self.recovered / f"{part.stem}.safetensors"

    def _is_readable(self, path: Path) -> bool:
        """Tell whether a part or a file of recovered inputs is intact."""
        try:
            if path.suffix == ".parquet":
                _read_part(path, lambda _: True)
            else:
                self._read_tensors(path, set())
        except ReadoutError:
            return False
        return True

    def _read_tensors(self, path: Path, keys: set[str]) -> dict[str, Tensor]:
        """Return the inputs under these keys from one file, whose seal is checked once, because it may be large."""
        try:
            written = path.stat().st_mtime_ns
            if self._checked.get(path) != written and is_damaged(path):
                raise _broken(path)
            self._checked[path] = written
            with safe_open(path, framework="pt") as part:
                return {key: part.get_tensor(key) for key in keys.intersection(part.keys())}
        except Exception as error:  # a damaged file may raise anything
            raise _broken(path) from error

    def _parts(self) -> list[Path]:
        """List the parts, those with recovered inputs first: they count if a problem was computed again."""
        with readable(self.folder):
            return sorted(self.results.glob("*.parquet"), key=lambda part: (not self._tensors(part).exists(), part))


def save_file(tensors: dict[str, Tensor], path: Path) -> None:
    """Write safetensors; the library's ``save_file`` leaves a temporary file behind if the process is killed."""
    path.write_bytes(save(tensors, metadata={"seal": UNSEALED}))


def svg(figure: Figure) -> str:
    """Return a figure as an SVG element, for a page."""
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()[written.getvalue().index("<svg") :]


def load_results(folder: str | Path, threshold: float | None = None, trajectories: bool = False) -> pd.DataFrame:
    """Load all results of an output folder into one table, one row per problem.

    Args:
        folder: Output folder of a sweep.
        threshold: t to judge by; None for the threshold and tolerance of the folder's last sweep.
        trajectories: Also load the values at recorded steps (columns :data:`TRAJECTORY`).

    Raises:
        ReadoutError: if the folder holds no results, or a part or the configuration can't be read.

    Examples:
        >>> import torch
        >>> from readout import measure
        >>> from readout.extractors import OrthonormalLinear
        >>> images, fast = torch.rand(1, 3, 16, 16), {"steps": 2, "batch_size": 2, "progress": False}
        >>> _ = measure(OrthonormalLinear(expansion=1), images, levels=[0, 0.5], output="runs/linear", **fast)
        >>> load_results("runs/linear")[["layer", "sample", "level", "steps"]]
            layer     sample  level  steps
        0  linear  image_000    0.0      2
        1  linear  image_000    0.5      2
    """
    if threshold is not None:
        check_threshold("threshold", threshold)
    table = ResultStore(folder).load(trajectories)
    if table.empty:
        begun = (user_path(folder) / "checkpoints").is_dir()
        advice = "it has not finished a batch yet" if begun else "give the output folder of a sweep, or run it first"
        raise ReadoutError(f"{str(folder)!r} holds no results; {advice}.")
    last = read_config(folder).get("sweep") or {}
    threshold = threshold or last.get("threshold")
    return table if threshold is None else judge(table, threshold, last.get("tolerance"))


def read_config(folder: str | Path) -> dict[str, Any]:
    """Return the configuration of a folder's last sweep; empty if there is none.

    Raises:
        ReadoutError: if it can't be read, was changed, or holds values that can't judge results.
    """
    path = user_path(folder) / "config.yaml"
    config = _read_yaml(path, "run the same command again, or delete its first line to accept it as it is")
    sweep = config.get("sweep") or {}
    if not isinstance(sweep, dict):
        raise ReadoutError(f"The section `sweep` of {str(path)!r} is {sweep!r:.60}; correct it, or delete the file.")
    if sweep.get("threshold") is not None:
        check_threshold(f"sweep.threshold in {str(path)!r}", sweep["threshold"])
    if sweep.get("tolerance") is not None:
        check_number(f"sweep.tolerance in {str(path)!r}", sweep["tolerance"], low=0)
    if sweep.get("estimator") is not None:
        check_choice(f"sweep.estimator in {str(path)!r}", sweep["estimator"], [each.value for each in Estimator])
    return config


def _read_yaml(path: Path, advice: str) -> dict[str, Any]:
    if not path.exists():
        return {}
    text = read_whole(path, advice)
    try:
        loaded = yaml.safe_load(text)
    except Exception as error:  # of noise the parser also takes dates and endless nesting
        raise ReadoutError(f"{str(path)!r} can't be read as YAML; restore it, or delete it.") from error
    if not isinstance(loaded, dict):
        raise ReadoutError(f"{str(path)!r} holds no settings; restore it, or delete it.")
    return loaded


def judge(table: pd.DataFrame, threshold: float, tolerance: float | None = None) -> pd.DataFrame:
    """Judge results anew by a threshold and a tolerance.

    Args:
        table: One row per problem.
        threshold: t, in units of d_X.
        tolerance: See :func:`readout.representation.verdict`; None keeps the tolerance of each row.

    Returns:
        A copy of the table with new verdicts; None for problems whose true input is unknown.
    """
    if tolerance is not None:
        table = table.assign(tolerance=tolerance)
    unknown = table[["distance", "floor", "scale"]].isna().all(axis=1) & ~table["dead"].astype(bool)
    judged = verdicts(**{name: table[name] for name in _JUDGED}, threshold=threshold).astype(object)
    judged[unknown.to_numpy()] = None
    return table.assign(threshold=threshold, verdict=pd.Series(judged.tolist(), index=table.index))


def readable_name(row: dict[str, Any], suffix: str) -> str:
    """Return the path of a recovered picture or text inside ``recovered/``."""
    name = f"{safe_name(row['layer'])}/{safe_name(row['sample'])}"
    return f"{name}.{suffix}" if math.isnan(row["level"]) else f"{name}/{_variant(row)}.{suffix}"


def _variant(row: dict[str, Any]) -> str:
    reading = f"_reading={row['reading']}" if row.get("reading") else ""
    return f"level={row['level']}_draw={row['draw']}{reading}"


def _read_part(path: Path, keep: Callable[[str], bool]) -> pd.DataFrame:
    """Read the columns of a part whose names ``keep`` accepts."""
    try:
        if is_damaged(path):  # checked first: parsers may crash on damaged bytes
            raise _broken(path)
        names = pq.read_schema(path).names
        table: pd.DataFrame = pq.read_table(path, columns=[name for name in names if keep(name)]).to_pandas()
    except Exception as error:  # a damaged file may raise anything
        raise _broken(path) from error
    if table.empty or not {*names} >= _NEEDED:
        raise _broken(path)
    return table


def _read_input(path: Path) -> Tensor:
    try:
        with Image.open(path) as picture:
            picture.verify()  # otherwise PIL ignores the checksums of pixels
        return read_image(path)
    except Exception as error:  # a damaged file may raise anything
        raise ReadoutError(
            f"{str(path)!r} can't be read; run the same command again, which rewrites it, or delete it."
        ) from error


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _broken(path: Path) -> ReadoutError:
    return ReadoutError(
        f"The results file {str(path)!r} is damaged or can't be read; run the same command again, which sets it "
        "aside and recomputes only its problems."
    )


def _write_lines(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
