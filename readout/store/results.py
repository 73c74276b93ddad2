"""ResultStore: results on disk, looked up by problem key."""

import io
import os
from collections.abc import Callable, Collection, Iterable, KeysView, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import yaml
from matplotlib.figure import Figure
from torch import Tensor

from readout.common.files import readable, user_path, write_whole
from readout.common.seal import COMMENT
from readout.data.images import is_image
from readout.problems import Setting
from readout.problems.identity import batch_name
from readout.problems.names import own_path, set_aside_if_damaged
from readout.store.columns import COLUMNS, LATER, SORTED, TRAJECTORY
from readout.store.config import read_yaml
from readout.store.index import Contents, Index
from readout.store.intact import Intact
from readout.store.parts import (
    FILE,
    check_part,
    contents_of,
    counting_rows,
    joined,
    merged_rows,
    merged_schema,
    read_contents,
    read_part,
    write_part,
)
from readout.store.pictures import pictured_digest, read_picture, readable_path, write_picture, write_readable
from readout.store.recovered import read_file, save_file

XML = '<?xml version="1.0" encoding="utf-8"?>\n'


class ResultStore:
    """Output folder of a sweep: ``results/``, ``recovered/`` and ``inputs/``.

    What the folder holds is read once, when it is first asked for. Later only this object adds to it; another
    ``ResultStore``, or :meth:`reread`, sees what other processes have added or removed.

    Args:
        folder: Path of the folder; made on the first write.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = user_path(folder)
        self.results = self.folder / "results"
        self.recovered = self.folder / "recovered"
        self.inputs = self.folder / "inputs"
        self._intact = Intact()
        self._known: Index | None = None

    def finished(self) -> KeysView[str]:
        """Return a live view of the keys of all problems with an answer.

        A row without its recovered input does not count, so its problem is computed again.

        Raises:
            ReadoutError: if a part can't be read.
        """
        return self._index.finished

    def reread(self) -> None:
        """Forget what the folder held, so that it is read again when it is next asked for."""
        self._known = None

    def set_aside_broken(self) -> list[str]:
        """Rename damaged files of results, so that they count as absent.

        Returns:
            One sentence per damaged file.
        """
        sentences = []
        for path in sorted([*self.results.glob("*.parquet"), *self.recovered.glob("*.safetensors")]):
            sentences += set_aside_if_damaged(path, self._check, "its problems are computed again")
        if sentences:
            self.reread()
        return sentences

    def append(self, table: pd.DataFrame, recovered: Iterable[Tensor], pictured: Collection[str] | None = None) -> None:
        """Save a batch: recovered inputs first, table last, so that a key is either finished or absent.

        Args:
            table: One row per problem, of :data:`COLUMNS`, :data:`TRAJECTORY` and further metrics.
            recovered: Recovered input of each problem; an empty tensor if there is none.
            pictured: Samples whose recovered inputs are also written as pictures or texts; default: all. For others,
                :meth:`write_pictures` can do so later.

        Raises:
            ReadoutError: if the disk is full or the folder can't be written.
        """
        keys = table["key"].tolist()
        name = batch_name(keys)
        tensors = {key: x.contiguous() for key, x in zip(keys, recovered, strict=True) if x.numel()}
        write_whole(self._file(name), lambda path: save_file(tensors, path))
        self._write_readable(table if pictured is None else table[table["sample"].isin(pictured)], tensors)
        columns = [*COLUMNS, *(column for column in table.columns if column not in COLUMNS)]
        parquet = pa.Table.from_pandas(table[columns], preserve_index=False)
        write_part(self._part(name), [parquet], parquet.schema)
        if self._known:
            self._known.append(name, contents_of(parquet, {name: keys}))

    def merge(self, setting: str, layer: str) -> None:
        """Make one part of all parts of a layer, so that they are loaded quickly.

        The merged part is written before others are removed; if the process is killed in between, rows are there twice
        and count once. Files of recovered inputs stay as they are.

        Args:
            setting: Digest of the setting.
            layer: The layer.

        Raises:
            ReadoutError: if a part can't be read, the disk is full or the folder can't be written.
        """
        index = self._index
        parts = {part for part, held in index.parts.items() if held == (setting, layer)}
        if len(parts) < 2:
            return
        keys = index.counting(parts)
        merged = batch_name(sorted(chain(*keys.values())))
        paths = [self._part(part) for part in sorted(parts)]
        schema, newest = merged_schema(paths), max(path.stat().st_mtime_ns for path in paths)
        self.reread()  # unless all goes well
        write_part(self._part(merged), merged_rows(paths, schema, index, self._intact), schema)
        os.utime(self._part(merged), ns=(newest, newest))  # else an old setting would become the latest
        for part in parts - {merged}:
            self._part(part).unlink()
        index.replace(parts, merged, Contents(keys, setting, layer))
        self._known = index

    def load(
        self,
        trajectories: bool = False,
        *,
        columns: Sequence[str] | None = None,
        keys: Collection[str] | None = None,
    ) -> pd.DataFrame:
        """Return results as one table, one row per problem; see :func:`load_results`.

        Args:
            trajectories: Load the columns :data:`TRAJECTORY`, too.
            columns: Exactly these columns, as far as there are any; default: all but :data:`TRAJECTORY`.
            keys: Keys of the problems; default: all. Only a few rows besides theirs are in memory at a time.

        Raises:
            ReadoutError: if a part can't be read.
        """
        wanted = {*SORTED, "key", FILE, *(columns or ())}

        def keep(name: str) -> bool:
            return name in wanted or (columns is None and (trajectories or name not in TRAJECTORY))

        parts = sorted(self._index.parts) if keys is None else self._index.holding(keys)
        if not parts:
            return pd.DataFrame(columns=list(COLUMNS if columns is None else columns))
        table = joined([self._read_rows(self._part(part), keep, keys) for part in parts], list(filter(keep, LATER)))
        chosen = list(table) if columns is None else [name for name in columns if name in table]
        return table.sort_values(list(SORTED), ignore_index=True)[chosen]

    def load_recovered(self, keys: Iterable[str]) -> dict[str, Tensor]:
        """Return the recovered inputs of these problems as they were saved, as far as there are any.

        Only the files that hold them are opened.

        Raises:
            ReadoutError: if a file can't be read.
        """
        found: dict[str, Tensor] = {}
        for name, held in self._by_file(keys).items():
            found |= self._read_tensors(name, held)
        return found

    def write_pictures(self) -> None:
        """Write recovered inputs of the latest setting as pictures or texts, as far as the folder lacks them.

        Raises:
            ReadoutError: if a file can't be read, the disk is full or the folder can't be written.
        """
        if not self.finished():
            return
        named = ["layer", "sample", "level", "draw", "reading", "setting", "key", "true_text", "recovered_text"]
        table = self.load(columns=named)
        table = table[table["setting"] == self.latest_setting()].set_index("key", drop=False)
        for name, keys in self._by_file(table["key"]).items():
            self._write_readable(table.loc[keys], self._read_tensors(name, keys))

    def save_input(self, sample: str, x: Tensor) -> None:
        """Save a true input as a picture, if it is an image that the folder does not hold yet.

        Raises:
            ReadoutError: if the disk is full or the folder can't be written.
        """
        if is_image(x):
            write_picture(self._input_path(sample), x)

    def holds_input(self, sample: str, digest: str) -> bool:
        """Return whether there is an intact picture of a true input.

        Args:
            sample: Name of the input.
            digest: See :attr:`readout.data.Metadata.digest`.
        """
        return pictured_digest(self._input_path(sample)) == digest

    def readable_path(self, row: dict[str, Any], suffix: str) -> Path:
        """Return the path of a recovered input as a picture or text."""
        return readable_path(self.recovered, row, suffix)

    def load_inputs(self, samples: Iterable[str]) -> dict[str, Tensor]:
        """Return the true inputs that were saved as pictures, by sample name.

        Raises:
            ReadoutError: if a picture can't be read.
        """
        return {sample: read_picture(path) for sample, path in self.input_files(samples).items()}

    def input_files(self, samples: Iterable[str]) -> dict[str, Path]:
        """Return the paths of true inputs that were saved as pictures, by sample name."""
        paths = {sample: self._input_path(sample) for sample in samples}
        return {sample: path for sample, path in paths.items() if path.exists()}

    def latest_setting(self) -> str:
        """Return the digest of the setting of the newest part."""
        return self._index.parts[max(self._index.parts, key=lambda part: self._part(part).stat().st_mtime)][0]

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
        return write_whole(self.folder / name, lambda path: path.write_text(text, encoding="utf-8"))

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
        return read_yaml(self.folder / self._setting(digest), "restore it, or delete it and the page is made without")

    def _setting(self, digest: str) -> str:
        return f"settings/{digest}.yaml"

    def _input_path(self, sample: str) -> Path:
        return own_path(self.inputs, sample, ".png")

    def _part(self, name: str) -> Path:
        return self.results / f"{name}.parquet"

    def _file(self, name: str) -> Path:
        """Return the path of a file of recovered inputs."""
        return self.recovered / f"{name}.safetensors"

    @property
    def _index(self) -> Index:
        """What the folder holds; read when first asked for."""
        if self._known is None:
            with readable(self.folder):
                parts = sorted(self.results.glob("*.parquet"))
                index = Index([path.stem for path in self.recovered.glob("*.safetensors")])
            contents = {}
            for path in parts:
                with self._intact(path):
                    contents[path.stem] = read_contents(path)
            # merged parts last: if a file of theirs was lost and computed again, it may have its old name
            for part in sorted(contents, key=lambda part: part not in contents[part].keys):
                index.add(part, contents[part])
            self._known = index
        return self._known

    def _read_rows(self, path: Path, keep: Callable[[str], bool], keys: Collection[str] | None) -> pa.Table:
        """Read those rows of a part that count."""
        with self._intact(path):
            rows = read_part(path, keep, keys)
            return counting_rows(rows, path, self._index).select([name for name in rows.column_names if name != FILE])

    def _by_file(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """Group finished problems by the name of the file with their recovered inputs."""
        found: dict[str, list[str]] = {}
        for key in keys:
            if key in self._index.finished:
                found.setdefault(self._index[key].file, []).append(key)
        return found

    def _read_tensors(self, name: str, keys: Collection[str]) -> dict[str, Tensor]:
        path = self._file(name)
        if not path.exists():  # it was removed since the folder was read
            return {}
        with self._intact(path):
            return read_file(path, keys)

    def _write_readable(self, table: pd.DataFrame, recovered: Mapping[str, Tensor]) -> None:
        """Write those recovered inputs as pictures or texts that are either."""
        for row in table[table["key"].isin(list(recovered))].to_dict("records"):
            write_readable(self.recovered, {str(name): value for name, value in row.items()}, recovered[row["key"]])

    def _check(self, path: Path) -> None:
        """Read all of a file.

        Raises:
            ReadoutError: if it is damaged.
        """
        with self._intact(path):
            if path.suffix == ".parquet":
                check_part(path)
            else:
                read_file(path, ())


def svg(figure: Figure) -> str:
    """Return a figure as an SVG element, for a page."""
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()[written.getvalue().index("<svg") :]
