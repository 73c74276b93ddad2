"""Read responses from NumPy, MATLAB, safetensors, BData and NIfTI files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from readout.common.errors import ReadoutError, reason
from readout.external.collect import NAMES
from readout.external.files import READERS, read_arrays, texts

RESPONSES = "responses"
"""Key of responses; a file's other arrays are then ignored."""

VOXELS, STIMULUS = "VoxelData", "stimulus_name"
"""Keys in BData of the columns with voxels, and of the column with stimuli."""


Table = tuple[str, NDArray[Any], Sequence[str]]
"""Responses as they are in a file: key and file, for messages; values; and the stimulus of each row."""


def read_tables(path: Path, mask: str | None = None) -> dict[str, Table]:
    """Read responses and names of stimuli, by key.

    Args:
        path: An ``.npz``, ``.safetensors`` or ``.mat`` file with the array ``responses`` (or, without it, arrays of any
            names: regions or subjects) and the texts ``names``; BData of bdpy (``.h5``), whose stimuli are the labels
            ``stimulus_name``; or a NIfTI image of four dimensions (``.nii``, ``.nii.gz``) with a text file beside it,
            ``NAME.txt``, that has the stimulus of each volume on a line.
        mask: BData: key of the columns to take, such as ``ROI_V1``; default: ``VoxelData``. NIfTI: image that is above
            0 at the voxels to take. No other format takes one.

    Raises:
        ReadoutError: if the file can't be read, or lacks one of these.
    """
    if not path.is_file():
        raise ReadoutError(f"There is no file {str(path)!r}; correct the path of the responses.")
    suffix = ".nii" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
    if reader := MASKED.get(suffix):
        try:
            return reader(path, mask)
        except ReadoutError:
            raise
        except Exception as error:  # each library has its own errors for unreadable files
            raise ReadoutError(
                f"{str(path)!r} can't be read as BData or NIfTI ({reason(error)}); save the responses again, or in a "
                "file of another format."
            ) from error
    if suffix not in READERS:
        raise ReadoutError(f"{str(path)!r} is no file of responses; give {', '.join([*READERS, *MASKED])}.")
    if mask is not None:
        raise ReadoutError(f"--mask is for NIfTI and BData, not for {str(path)!r}; leave it out.")
    arrays = read_arrays(path)
    keys = [RESPONSES] if RESPONSES in arrays else [key for key in arrays if key != NAMES]
    if not keys or NAMES not in arrays:
        raise ReadoutError(
            f"{str(path)!r} holds {', '.join(map(repr, arrays))}; give {RESPONSES!r}, and a stimulus per row in "
            f"{NAMES!r}."
        )
    names, numbers = texts(arrays[NAMES]), arrays[NAMES].dtype.kind == "f"
    names = [name.removesuffix(".0") if numbers else name for name in names]  # MATLAB's numbers are floats
    return {key: (arrays[key].where, np.asarray(arrays[key]), names) for key in keys}


def _read_bdata(path: Path, mask: str | None) -> dict[str, Table]:
    """Read HDF5 as bdpy writes it; rows without a stimulus, such as rest, are left out."""
    import h5py

    with h5py.File(path, "r") as file:
        keys = [key.decode() for key in file["metadata/key"][()]]
        marked = dict(zip(keys, file["metadata/value"][()] == 1, strict=True))
        labels = {float(number): text[()].decode() for number, text in file.get(f"vmap/{STIMULUS}", {}).items()}
        wanted = mask or VOXELS
        if not labels or wanted not in marked or not marked[wanted].any():
            raise ReadoutError(
                f"{str(path)!r} lacks {f'columns {wanted!r}' if labels else f'labels {STIMULUS!r}'}; it has "
                f"{', '.join(keys)}, and labels of {', '.join(file.get('vmap', {})) or 'nothing'}."
            )
        dataset = file["dataset"][()]
    (numbers,) = dataset[:, marked[STIMULUS]].T
    shown = np.isfinite(numbers)
    names = [labels[number] for number in numbers[shown].tolist()]
    return {wanted: (f"{wanted!r} of {str(path)!r}", dataset[shown][:, marked[wanted]], names)}


def _read_nifti(path: Path, mask: str | None) -> dict[str, Table]:
    try:
        import nibabel
    except ImportError as error:
        raise ReadoutError("NIfTI needs nibabel; install it with `pip install 'readout[nifti]'`.") from error
    names = path.parent / f"{path.name.removesuffix('.gz').removesuffix('.nii')}.txt"
    if mask is None or not names.is_file():
        lacks = "a mask; give it as --mask" if mask is None else f"{names.name!r}, a stimulus per line; write it"
        raise ReadoutError(f"{str(path)!r} needs {lacks}.")
    volumes, inside = (np.asarray(nibabel.load(each).dataobj) for each in (path, mask))
    if volumes.ndim != 4 or volumes.shape[:3] != inside.shape:
        raise ReadoutError(
            f"{str(path)!r} has shape {volumes.shape}, and its mask {inside.shape}; give volumes of the mask's shape."
        )
    return {RESPONSES: (repr(str(path)), volumes[inside > 0].T, names.read_text(encoding="utf-8").splitlines())}


MASKED: Mapping[str, Callable[[Path, str | None], dict[str, Table]]] = {
    ".h5": _read_bdata,
    ".hdf5": _read_bdata,
    ".nii": _read_nifti,
}
"""Functions that read formats which take a mask, by suffix."""
