"""Read MATLAB files: numeric arrays, and text in char arrays, cells and strings."""

import struct
from collections.abc import Callable
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from readout.common.errors import ReadoutError

Header = tuple[tuple[int, ...], np.dtype[Any], Callable[[], NDArray[Any]]]
"""Shape, type (``object`` for anything but numbers and char arrays), and a function that reads the values."""

OBJECTS = np.dtype(object)

NUMBERS, TEXTS, MATRIX, COMPRESSED = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13), (16, 17, 18), 14, 15
"""Element types in files up to version 7."""

COMPLEX = 0x800
"""Flag of an array with an imaginary part."""

OBJECT = "MATLAB_object_decode"
"""Attribute of data sets that refer to MATLAB objects, such as strings."""


def matlab_headers(path: Path) -> dict[str, Header]:
    """Read the headers of all variables in a file.

    Args:
        path: A ``.mat`` file of any version.

    Raises:
        ReadoutError: if a file older than version 7.3 holds MATLAB objects.
    """
    import h5py

    return _hdf5_headers(path) if h5py.is_hdf5(path) else _older_headers(path)


def _older_headers(path: Path) -> dict[str, Header]:
    """Read headers of versions up to 7."""
    from scipy.io import whosmat

    content = path.read_bytes()
    if content[126:128] in (b"IM", b"MI"):  # since version 5
        _check_elements(memoryview(content)[128:], "<" if content[126:128] == b"IM" else ">")
    try:
        variables = whosmat(path)
    except TypeError as error:  # SciPy's failure on MATLAB objects
        raise ReadoutError(
            f"{str(path)!r} holds MATLAB objects, such as strings or tables, which can't be read from this version; "
            "save names as `cellstr(names)`, or everything with `-v7.3`."
        ) from error
    kinds = {"char": np.dtype(str), "cell": OBJECTS, "struct": OBJECTS, "object": OBJECTS, "function": OBJECTS}
    numbers = np.dtype(float)
    return {key: (shape, kinds.get(kind, numbers), partial(_older_values, path, key)) for key, shape, kind in variables}


def _check_elements(content: memoryview, order: str) -> list[int]:
    """Return the types of all elements; refuse impossible ones, on which SciPy's C code crashes.

    Raises:
        ValueError: if a type or size is impossible.
    """
    place, kinds = 0, []
    while place < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        start = place + 8
        if small := kind >> 16:  # small elements: the data are in the tag
            kind, size, start = kind & 0xFFFF, small, place + 4
        if kind not in (*NUMBERS, *TEXTS, MATRIX, COMPRESSED) or start + size > len(content) or small > 4:
            raise ValueError(f"element of type {kind} and {size} bytes at byte {place}")
        if kind == MATRIX and size:
            inside = content[start : start + size]
            name, _, flags = struct.unpack_from(f"{order}III", inside)
            of_class, parts = flags & 0xFF, _check_elements(inside, order)
            allowed = {1: (MATRIX,), 4: (*NUMBERS, *TEXTS), **dict.fromkeys(range(5, 16), NUMBERS)}.get(of_class)
            headed = name == 6 and (of_class in (2, 3, 16, 17) or (allowed and parts[1:3] == [5, 1]))
            # sparse arrays have two index elements before the values; complex ones an imaginary part after them
            count = (3 if of_class == 5 else 1) + bool(flags & COMPLEX) if of_class > 4 else len(parts[3:])
            if not headed or (allowed and (len(parts[3:]) != count or {*parts[3:]} - {*allowed})):
                raise ValueError(f"array of class {of_class} with elements of types {parts} at byte {place}")
        kinds.append(kind)
        padded = size if kind == COMPRESSED else -(-size // 8) * 8
        place = place + 8 if small else start + padded
    return kinds


def _older_values(path: Path, key: str) -> NDArray[Any]:
    from scipy.io import loadmat

    values = loadmat(path, variable_names=[key])[key]
    if hasattr(values, "toarray"):  # sparse
        values = values.toarray()
    return _texts_of_cells(values) if values.dtype == object else np.asarray(values)


def _texts_of_cells(cells: NDArray[Any]) -> NDArray[Any]:
    """Convert cells to text if each holds one text or number; return any others unchanged."""
    items = [_innermost(cell) for cell in cells.flatten()]
    if any(item.dtype.kind not in "USbiuf" or item.size > 1 for item in items):
        return cells
    return np.array([str(item.item()) if item.size else "" for item in items], dtype=str).reshape(cells.shape)


def _innermost(cell: Any) -> NDArray[Any]:
    """Unwrap a value from nested cells of size one."""
    while isinstance(cell, np.ndarray) and cell.dtype == object and cell.size == 1:
        cell = cell.item()
    return np.asarray(cell)


def _hdf5_headers(path: Path) -> dict[str, Header]:
    """Read headers of version 7.3, which is HDF5 with dimensions in reverse order."""
    import h5py

    with h5py.File(path, "r") as file:
        headers: dict[str, Header] = {}
        for key, value in file.items():
            read = partial(_hdf5_values, path, key)
            if isinstance(value, h5py.Dataset):
                headers[key] = (_shape(value), _type(value), read)
            elif "MATLAB_sparse" in value.attrs:
                headers[key] = ((int(value.attrs["MATLAB_sparse"]), len(value["jc"]) - 1), np.dtype(float), read)
    return headers


def _shape(dataset: Any) -> tuple[int, ...]:
    if dataset.attrs.get("MATLAB_empty"):
        return tuple(map(int, dataset[()]))
    return tuple(dataset.shape[::-1])


def _type(dataset: Any) -> np.dtype[Any]:
    kind = dataset.attrs.get("MATLAB_class")
    if kind == b"cell" or OBJECT in dataset.attrs:
        return OBJECTS
    return np.dtype(str) if kind == b"char" else dataset.dtype


def _hdf5_values(path: Path, key: str) -> NDArray[Any]:
    import h5py

    with h5py.File(path, "r") as file:
        return _read(file, file[key])


def _read(file: Any, value: Any) -> NDArray[Any]:
    import h5py
    from scipy.sparse import csc_matrix

    if isinstance(value, h5py.Group):
        if "MATLAB_sparse" not in value.attrs:
            raise ValueError("it is a struct")
        shape = (int(value.attrs["MATLAB_sparse"]), len(value["jc"]) - 1)
        parts = (value[part][()] if part in value else np.zeros(0) for part in ("data", "ir", "jc"))
        return np.asarray(csc_matrix(tuple(parts), shape=shape).toarray())
    kind = value.attrs.get("MATLAB_class")
    if value.attrs.get("MATLAB_empty"):
        return np.zeros(_shape(value), dtype=str if kind == b"char" else float)
    if kind == b"string":
        return _strings(file, value)
    if OBJECT in value.attrs:
        raise ValueError("it is a MATLAB object")
    if kind == b"cell":
        references = np.asarray(value).T
        cells = np.empty(references.shape, dtype=object)
        for place, reference in np.ndenumerate(references):
            cells[place] = _read(file, file[reference])
        return _texts_of_cells(cells)
    if kind == b"char":
        rows = np.atleast_2d(np.asarray(value).T).astype("<u2")
        if rows.ndim > 2:
            raise ValueError("its texts have more than two dimensions")
        return np.array([row.tobytes().decode("utf-16-le", "backslashreplace") for row in rows])
    if h5py.check_string_dtype(value.dtype):
        return np.asarray(value.asstr("utf-8", errors="backslashreplace")[()]).astype(str).T
    return np.asarray(value).T


def _strings(file: Any, value: Any) -> NDArray[Any]:
    """Read a string array, which refers to an object in a table beside the variables (MCOS, undocumented)."""
    numbers = value[()].flatten()
    identity = int(numbers[2 + numbers[1] :][0])  # follows a marker, the number of dimensions and the dimensions
    cells = file["#subsystem#/MCOS"][()].flatten()
    table = np.frombuffer(file[cells[0]][()].astype(np.uint8).tobytes(), dtype="<u4")
    blocks, objects = table[3] // 4, table[4] // 4
    for _ in range(table[objects + 6 * identity + 3]):
        blocks += (1 + 3 * table[blocks] + 1) // 2 * 2  # blocks are padded to 8 bytes
    count, _, _, place = table[blocks : blocks + 4]
    saved = file[cells[2 + place]][()].flatten().astype("<i8")  # in NumPy 1, uint64 + int is a float
    shape = [int(length) for length in saved[2 : 2 + saved[1]]]
    ends = np.cumsum(saved[2 + len(shape) : 2 + len(shape) + prod(shape)]).astype(int)
    units = saved[2 + len(shape) + prod(shape) :].tobytes()
    starts = [0, *ends[:-1]]
    if count != 1 or saved[0] != 1 or len(units) < 2 * max(ends, default=0):
        raise ValueError("its strings are stored in an unknown form; save `cellstr(names)`")
    said = [units[2 * start : 2 * end].decode("utf-16-le") for start, end in zip(starts, ends, strict=True)]
    return np.array(said, dtype=str).reshape(shape, order="F")
