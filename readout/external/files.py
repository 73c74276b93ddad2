"""Read external features from npz, npy, safetensors and mat files: headers first, values on demand."""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import psutil
from numpy.typing import DTypeLike, NDArray

from readout.common.errors import ReadoutError, reason
from readout.common.files import as_text
from readout.external.matlab import Header, matlab_headers

T = TypeVar("T")

WHOLE = ""
"""Key of the array in a file without keys."""


@dataclass(frozen=True)
class Stored:
    """The header of an array in a file; ``numpy.asarray`` reads the values."""

    where: str
    """Key and file, for messages."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """``object`` for anything but numbers and plain text."""
    read: Callable[[], NDArray[Any]]

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the values.

        Raises:
            ReadoutError: if they are damaged or do not fit into memory.
        """
        needed, free = self.size * self.dtype.itemsize, psutil.virtual_memory().available
        if needed > free:
            raise ReadoutError(
                f"{self.where} needs {needed / 2**30:.3g} GiB of memory, and {free / 2**30:.3g} are free; give fewer "
                "features at a time."
            )
        values = _explained(self.where, self.read)
        return values if dtype is None else values.astype(dtype)


Arrays = dict[str, Stored]


def read_arrays(path: Path) -> Arrays:
    """Read the headers of all arrays in a file.

    Args:
        path: A ``.npz``, ``.npy``, ``.safetensors`` or ``.mat`` file (MATLAB's, of any version).

    Returns:
        Arrays by key.

    Raises:
        ReadoutError: if there is no such file, it can't be read, or it holds no arrays.

    Examples:
        >>> np.savez("cat.npz", conv1_1=np.zeros((64, 8, 8)))
        >>> read_arrays(Path("cat.npz"))["conv1_1"].shape
        (64, 8, 8)
    """
    if not path.is_file():
        raise ReadoutError(f"There is no file or folder {str(path)!r}; correct the path of the features.")
    headers = READERS.get(path.suffix.lower())
    if headers is None:
        raise ReadoutError(f"{str(path)!r} is not a file of features; give one that ends in {', '.join(READERS)}.")
    found = _explained(repr(str(path)), partial(headers, path))
    if not found:
        raise ReadoutError(f"{str(path)!r} holds no arrays; save features in it under the names of their layers.")
    arrays = {}
    for key, (shape, dtype, read) in found.items():
        where = f"{as_text(key)!r} of {str(path)!r}" if key else repr(str(path))
        if dtype.hasobject and path.suffix.lower() in (".npz", ".npy"):  # a pickle could run anything
            raise ReadoutError(
                f"{where} holds Python objects, which are not read; save features as floats, and names with "
                "`np.array(names, dtype=str)`."
            )
        arrays[as_text(key)] = Stored(where, shape, dtype, read)
    return arrays


def texts(array: NDArray[Any] | Stored) -> list[str]:
    """Return the elements of an array of names as strings, with bytes that are not UTF-8 escaped.

    Raises:
        ReadoutError: if they are neither text nor numbers.
    """
    read = np.asarray(array)
    if read.dtype.kind not in "USbiuf":
        where = array.where if isinstance(array, Stored) else "The array of names"
        raise ReadoutError(f"{where} holds no text; save one text for each feature.")
    values = read.flatten().tolist()
    decoded = [value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value for value in values]
    return [as_text(str(value)).strip() for value in decoded]


def _explained(where: str, read: Callable[[], T]) -> T:
    """Call ``read``, with anything that a library raises turned into a :class:`ReadoutError`."""
    try:
        return read()
    except ReadoutError:
        raise
    except Exception as error:  # each library has its own errors for unreadable files
        raise ReadoutError(f"{where} can't be read ({reason(error)}); save the features again.") from error


def _npz_headers(path: Path) -> dict[str, Header]:
    if not zipfile.is_zipfile(path):
        raise ValueError("not an archive of arrays")
    found: dict[str, Header] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    shape, dtype = _npy_header(file, member.file_size)
                key = member.filename.removesuffix(".npy")
                found[key] = (shape, dtype, partial(_npz_values, path, key))
    return found


def _npz_values(path: Path, key: str) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive[key])


def _npy_headers(path: Path) -> dict[str, Header]:
    with path.open("rb") as file:
        shape, dtype = _npy_header(file, path.stat().st_size)
    return {WHOLE: (shape, dtype, lambda: np.load(path, allow_pickle=False))}


def _npy_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if not dtype.hasobject and prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{size} bytes are too few for {' × '.join(map(str, shape))} values; the file was cut short")
    return shape, dtype


def _safetensors_headers(path: Path) -> dict[str, Header]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        return {
            key: (tuple(part.get_shape()), _numpy_type(part.get_dtype()), partial(_safetensors_values, path, key))
            for key, part in slices.items()
        }


def _numpy_type(name: str) -> np.dtype[Any]:
    if name.startswith("C"):
        return np.dtype(np.complex64)
    return np.dtype(np.float32 if "F" in name else bool if name == "BOOL" else np.int64)


def _safetensors_values(path: Path, key: str) -> NDArray[Any]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensor = file.get_tensor(key)
    try:
        return np.asarray(tensor.numpy())
    except TypeError:  # NumPy knows no bfloat16 and no float8
        return np.asarray(tensor.float().numpy())


READERS: Mapping[str, Callable[[Path], dict[str, Header]]] = {
    ".npz": _npz_headers,
    ".npy": _npy_headers,
    ".safetensors": _safetensors_headers,
    ".mat": matlab_headers,
}
"""Functions that read headers, by suffix."""
