"""Reading features from files: npz, npy, safetensors and mat."""

import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from readout.errors import ReadoutError, reason

Arrays = dict[str, NDArray[Any]]

WHOLE = ""
"""Key of the only array of a file that has no keys."""

NOT_PLAIN = "OUS"
"""Kinds of arrays that hold no numbers: objects, texts, bytes."""


def read_arrays(path: Path) -> Arrays:
    """All arrays of a file by key, as they are.

    Args:
        path: With the suffix ``.npz``, ``.npy``, ``.safetensors`` or ``.mat`` (MATLAB's, of any version).

    Raises:
        ReadoutError: if there is no such file, it can't be read, or it holds nothing.
    """
    if not path.is_file():
        raise ReadoutError(f"There is no file or folder {str(path)!r}; give the path of features.")
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise ReadoutError(f"{str(path)!r} is not a file of features; those end in {', '.join(READERS)}.")
    try:
        arrays = read(path)
    except ReadoutError:
        raise
    except Exception as error:  # every library has errors of its own for what it can't read
        kind = path.suffix.lower().removeprefix(".")
        raise ReadoutError(
            f"{str(path)!r} can't be read as {kind} ({reason(error)}); save the features again."
        ) from error
    if not arrays:
        raise ReadoutError(f"{str(path)!r} holds no arrays; save features in it, with their layers' names as keys.")
    return arrays


def _read_npz(path: Path) -> Arrays:
    if not zipfile.is_zipfile(path):
        raise ValueError("not an archive of arrays")
    with np.load(path, allow_pickle=False) as archive:  # a pickle could run anything
        return {key: _plain(partial(archive.__getitem__, key), f"{key!r} of {str(path)!r}") for key in archive.files}


def _read_npy(path: Path) -> Arrays:
    return {WHOLE: np.asarray(_plain(partial(np.load, path, allow_pickle=False), repr(str(path))))}


def _plain(read: Callable[[], NDArray[Any]], where: str) -> NDArray[Any]:
    """What ``read`` gives, or in a sentence that it would be Python's objects."""
    try:
        return read()
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise ReadoutError(
            f"{where} holds Python objects, which are not read; save features as floats, and names with "
            "`np.array(names, dtype=str)`."
        ) from error


def _read_safetensors(path: Path) -> Arrays:
    from safetensors.torch import load_file

    tensors = load_file(path)
    # NumPy knows no bfloat16
    return {
        key: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy() for key, tensor in tensors.items()
    }


def _read_mat(path: Path) -> Arrays:
    import h5py
    from scipy.io import loadmat

    if not h5py.is_hdf5(path):
        return {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    with h5py.File(path, "r") as file:  # MATLAB 7.3: dimensions the other way round
        return {key: _from_matlab(value) for key, value in file.items() if isinstance(value, h5py.Dataset)}


def _from_matlab(dataset: Any) -> NDArray[Any]:
    if dataset.attrs.get("MATLAB_class") == b"char":
        return np.array(["".join(map(chr, row)) for row in np.asarray(dataset).T])
    return np.asarray(dataset).T


READERS: Mapping[str, Callable[[Path], Arrays]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".safetensors": _read_safetensors,
    ".mat": _read_mat,
}
"""How files are read, by suffix."""
