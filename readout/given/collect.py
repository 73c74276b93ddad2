"""From paths to arrays that know their layer and name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from readout.errors import ReadoutError
from readout.extractors import FeatureExtractor
from readout.given.files import READERS, WHOLE, Arrays, read_arrays

NAMES = "names"
"""Key of an array of texts, one a row, by which the features of a file are called."""


@dataclass(frozen=True)
class Found:
    """One array out of a file: one feature of a layer, or several as rows."""

    where: str
    """How messages call it."""
    layer: str
    name: str
    """Of the feature, where it is a single one."""
    values: NDArray[Any]
    names: Sequence[str] | None = None
    """Of several, where the file says."""


def collect(paths: Sequence[str | Path], extractor: FeatureExtractor, layers: Sequence[str] = ()) -> list[Found]:
    """Find features in files and folders.

    In a file, keys are names of layers. Where they are not, and one layer was asked for, they are names of features of
    that layer. A folder holds such files, or a folder of files for each layer, in which a feature's name is its file's.

    Args:
        paths: Files or folders.
        extractor: Whose layers these are.
        layers: The layers asked for; empty for all that are found.

    Raises:
        ReadoutError: if a path can't be read, holds no features, or none of a layer that was asked for.
    """
    layers = extractor.resolve(layers) if layers else []
    if not paths:
        raise ReadoutError("No features were given; name a file or a folder with --features.")
    found: list[Found] = []
    for path in map(Path, paths):
        found += _in_folder(path, extractor, layers) if path.is_dir() else _in_file(path, extractor, layers)
    return found


def _in_folder(folder: Path, extractor: FeatureExtractor, layers: Sequence[str]) -> Iterator[Found]:
    by_layer = [layer for layer in extractor.layers if (folder / layer).is_dir()]
    if by_layer:
        for layer in layers or by_layer:
            for path in _files(folder / layer):
                yield from _of_one_layer(path, read_arrays(path), layer)
        return
    for path in _files(folder):
        yield from _in_file(path, extractor, layers)


def _files(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in READERS) if folder.is_dir() else []
    if not files:
        raise ReadoutError(f"There are no features in {str(folder)!r}; files of features end in {', '.join(READERS)}.")
    return files


def _in_file(path: Path, extractor: FeatureExtractor, layers: Sequence[str]) -> Iterator[Found]:
    arrays = read_arrays(path)
    keys = [key for key in arrays if key != NAMES]
    of_layers = not layers or len(layers) > 1 or layers[0] in arrays
    if not of_layers:
        yield from _of_one_layer(path, arrays, layers[0])
        return
    if WHOLE in arrays:
        raise ReadoutError(f"{str(path)!r} does not say which layer its features are of; name it with --layer.")
    if not layers:
        for key in keys:
            if key not in extractor.layers:
                raise ReadoutError(
                    f"{str(path)!r} has a key {key!r}, and {extractor.unknown(key)} If keys are not layers, name the "
                    "layer with --layer."
                )
    for layer in layers or keys:
        if layer not in arrays:
            raise ReadoutError(
                f"{str(path)!r} holds no features of {layer!r}, only {', '.join(map(repr, keys))}; leave that layer "
                "out, or give its features too."
            )
        yield Found(f"{layer!r} of {str(path)!r}", layer, path.stem, arrays[layer], _names(arrays))


def _of_one_layer(path: Path, arrays: Arrays, layer: str) -> Iterator[Found]:
    """Keys, if there are several, are names of features."""
    keys = [key for key in arrays if key != NAMES]
    for key in keys:
        where = f"{key!r} of {str(path)!r}" if key else repr(str(path))
        yield Found(where, layer, key if len(keys) > 1 else path.stem, arrays[key], _names(arrays))


def _names(arrays: Arrays) -> list[str] | None:
    return [str(name).strip() for name in arrays[NAMES].flatten()] if NAMES in arrays else None
