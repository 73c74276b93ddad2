"""Parts: Parquet files of results, each written whole or not at all."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from readout.common.files import write_whole
from readout.common.seal import UNSEALED
from readout.store.columns import LATER, NEEDED
from readout.store.index import Contents, Index, Place

FILE = "recovered_in"
"""Column of merged parts: the name, without suffix, of the file with a problem's recovered input. For a part without
this column, it is the name of the part."""

ROWS = 4096
"""Rows per row group. One row group at a time is in memory while rows are looked for or parts are merged."""


def write_part(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> None:
    """Write tables of one schema as a part.

    Raises:
        ReadoutError: if the disk is full or the folder can't be written.
    """
    sealed = schema.with_metadata({**schema.metadata, "seal": UNSEALED})
    write_whole(path, lambda file: write_tables(tables, file, sealed))


def write_tables(tables: Iterable[pa.Table], file: Path, schema: pa.Schema) -> None:
    """Write tables of one schema into a Parquet file."""
    with pq.ParquetWriter(file, schema) as writer:
        for table in tables:
            writer.write_table(table, ROWS)


def read_part(path: Path, keep: Callable[[str], bool], keys: Collection[str] | None = None) -> pa.Table:
    """Read the columns of a part whose names ``keep`` accepts.

    Args:
        path: The part.
        keep: Tells by its name whether a column is wanted.
        keys: Keys of the wanted rows; default: all.

    Raises:
        ValueError: if the file is not a part.
    """
    with _opened(path) as part:
        columns = [name for name in part.schema_arrow.names if keep(name)]
        return part.read(columns) if keys is None else pa.concat_tables(_found(part, columns, keys))


def read_contents(path: Path) -> Contents:
    """Read which problems a part holds.

    Raises:
        ValueError: if the file is not a part.
    """
    table = read_part(path, lambda name: name in ("key", "setting", "layer", FILE))
    keys, by_file = table["key"].to_numpy(), {}
    if FILE in table.column_names:
        files = table[FILE].combine_chunks().dictionary_encode()
        codes = files.indices.to_numpy()
        by_file = {name: keys[codes == code].tolist() for code, name in enumerate(files.dictionary.to_pylist())}
    return contents_of(table, by_file or {path.stem: keys.tolist()})


def contents_of(table: pa.Table, keys: Mapping[str, Collection[str]]) -> Contents:
    """Say what a table holds, whose keys are these by the names of their files."""
    settings, layers = table["setting"].unique(), table["layer"].unique()
    one = len(settings) == len(layers) == 1
    return Contents(keys, settings[-1].as_py(), layers[0].as_py() if one else None)


def check_part(path: Path) -> None:
    """Read all of a part, one row group at a time.

    Raises:
        ValueError: if the file is not a part.
    """
    with _opened(path) as part:
        for group in range(part.num_row_groups):
            part.read_row_group(group)


def merged_schema(paths: Iterable[Path]) -> pa.Schema:
    """Return the schema of one part with the rows of several."""
    added = pa.schema({FILE: pa.string(), **{name: pa.scalar(value).type for name, value in LATER.items()}})
    return pa.unify_schemas([*map(pq.read_schema, paths), added], promote_options="permissive")


def merged_rows(
    paths: Iterable[Path], schema: pa.Schema, index: Index, intact: Callable[[Path], AbstractContextManager[None]]
) -> Iterator[pa.Table]:
    """Yield those rows of several parts that count, as tables of :data:`ROWS` rows.

    Args:
        paths: The parts.
        schema: From :func:`merged_schema`.
        index: Tells which rows count.
        intact: Context for reading a part.
    """
    gathered: list[pa.Table] = []
    for path in paths:
        with intact(path), _opened(path) as part:
            for group in range(part.num_row_groups):
                rows = _conformed(part.read_row_group(group), schema, path.stem)
                gathered.append(counting_rows(rows, path, index))
                if sum(map(len, gathered)) >= ROWS:
                    yield pa.concat_tables(gathered)
                    gathered = []
    if gathered:
        yield pa.concat_tables(gathered)


def counting_rows(rows: pa.Table, path: Path, index: Index) -> pa.Table:
    """Return those rows of a part that count."""
    if path.stem not in index.repeated:
        return rows
    files = rows[FILE].to_pylist() if FILE in rows.column_names else [path.stem] * len(rows)
    held = zip(rows["key"].to_pylist(), files, strict=True)
    return rows.filter(pa.array([index[key] == Place(path.stem, file) for key, file in held]))


def joined(parts: Iterable[pa.Table], later: Collection[str]) -> pd.DataFrame:
    """Join rows of parts, whose columns may differ.

    Args:
        parts: Rows of each part.
        later: Columns of :data:`LATER` to fill where older parts lack them.
    """
    by_schema: dict[str, list[pa.Table]] = {}  # converted together, because many small conversions are slow
    for rows in parts:
        by_schema.setdefault(str(rows.schema.remove_metadata()), []).append(rows)
    tables: list[pd.DataFrame] = [pa.concat_tables(alike).to_pandas() for alike in by_schema.values()]
    tables = [one.assign(**{name: LATER[name] for name in later if name not in one}) for one in tables]
    table = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    if "readout" in later and table["readout"].isna().any():  # an older part has the readout of newer ones
        table["readout"] = table.groupby("setting")["readout"].transform("first")
    return table


def _conformed(table: pa.Table, schema: pa.Schema, file: str) -> pa.Table:
    """Fill the columns that a part lacks."""
    missing = {**LATER, FILE: file}

    def column(field: pa.Field) -> pa.ChunkedArray | pa.Array:
        if field.name not in table.column_names:
            return pa.repeat(pa.scalar(missing.get(field.name), field.type), len(table))
        found = table[field.name]
        # Arrow breaks lists of nulls that it casts to their own type
        return found if found.type == field.type else found.cast(field.type)

    return pa.table([column(field) for field in schema], schema=schema)


def _opened(path: Path) -> pq.ParquetFile:
    part = pq.ParquetFile(path)
    if not part.metadata.num_rows or not {*part.schema_arrow.names} >= NEEDED:
        part.close()
        raise ValueError(f"{path} is not a part")
    return part


def _found(part: pq.ParquetFile, columns: list[str], keys: Collection[str]) -> Iterator[pa.Table]:
    """Yield the rows with these keys; of row groups without any, only the keys are read."""
    wanted = pa.array(keys, part.schema_arrow.field("key").type)
    yield part.schema_arrow.empty_table().select(columns)
    for group in range(part.num_row_groups):
        found = pc.is_in(part.read_row_group(group, ["key"])["key"], wanted)
        if pc.any(found).as_py():
            yield part.read_row_group(group, columns).filter(found)
