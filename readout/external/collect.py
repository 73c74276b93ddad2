"""From paths to arrays that know their layer and name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from readout.common.errors import ReadoutError
from readout.common.files import as_text, find_files, user_path
from readout.external.files import READERS, WHOLE, Arrays, Stored, read_arrays, texts
from readout.extractors import FeatureExtractor

NAMES = "names"
"""Key of an array of texts, one a row, by which the features of a file are called."""

NO_NAMES = (WHOLE, "feat", "arr_0")
"""Keys that name nothing, where they are a file's only one: bdpy's of any feature, and NumPy's own."""


@dataclass(frozen=True)
class Found:
    """One array out of a file: one feature of a layer, or several as rows."""

    where: str
    """How messages call it."""
    layer: str
    name: str
    """Of the feature, where it is a single one."""
    values: NDArray[Any] | Stored
    """Read from the file when NumPy makes an array of it."""
    names: Sequence[str] | None = None
    """Of several, where the file says."""
    folders: Sequence[str] = ()
    """Where the name is from: folders without the layer's, the file too where the name is from inside."""


class Place(NamedTuple):
    """A file, and what its path says of a layer."""

    path: Path
    layer: str | None
    """Name of the last folder that is called as a layer."""
    searched: bool
    """Whether that lies inside a folder that was given, and so is no chance: keys can't say otherwise."""


def collect(paths: Sequence[str | Path], extractor: FeatureExtractor, layers: Sequence[str] = ()) -> list[Found]:
    """Find features in files and folders.

    In a file, keys are names of layers. Where they are not, the layer is that whose name a folder on the file's path
    has, or else the one that was asked for, and keys are names of features; a single array in a layer's folder is
    called as its file is. A folder that was given is searched with all below it, and if layers have folders there,
    only in those.

    Where a layer would have two features of one name, all names are led by as many of their folders as it takes,
    those of layers left out: ``S1/VC/cat`` is in ``conv2_1/S1/VC/cat.mat``, and in ``conv3_1/S1/VC/cat.mat``.

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
    for path in map(user_path, paths):
        for place in _in_folder(path, extractor) if path.is_dir() else [_place(path, extractor)]:
            found += _in_file(place, extractor, layers)
    for layer in layers:
        if not any(one.layer == layer for one in found):
            raise ReadoutError(
                f"There are no features of {layer!r} in what was given (files in a folder called as a layer are of "
                "that layer); leave it out, or give its features too."
            )
    return _called_apart(found)


def _in_folder(folder: Path, extractor: FeatureExtractor) -> list[Place]:
    files = find_files(folder, lambda path: path.suffix.lower() in READERS, f"features ({', '.join(READERS)})")
    if not files:
        raise ReadoutError(f"There are no features in {str(folder)!r}; files of features end in {', '.join(READERS)}.")
    depth = len(folder.parts)
    places = [_place(path, extractor, depth) for path in files]
    return [place for place in places if place.searched] or places


def _place(path: Path, extractor: FeatureExtractor, depth: int | None = None) -> Place:
    """``depth`` is how many parts of the path were given, if that was a folder."""
    called = [place for place, part in enumerate(path.parts[:-1]) if part in extractor.layers]
    if not called:
        return Place(path, None, False)
    return Place(path, path.parts[called[-1]], depth is not None and called[-1] >= depth)


def _in_file(place: Place, extractor: FeatureExtractor, layers: Sequence[str]) -> Iterator[Found]:
    path, layer, searched = place
    if searched and layers and layer not in layers:
        return
    arrays = read_arrays(path)
    keys = [key for key in arrays if key != NAMES]
    if layer and (searched or not any(key in extractor.layers for key in keys)):
        if not layers or layer in layers:
            yield from _of_one_layer(place, arrays, layer, called_as_file=keys)
        return
    of_layers = not layers or len(layers) > 1 or layers[0] in arrays
    if not of_layers:
        yield from _of_one_layer(place, arrays, layers[0], called_as_file=NO_NAMES)
        return
    if WHOLE in arrays:
        raise ReadoutError(f"{str(path)!r} does not say which layer its features are of; name it with --layer.")
    if not layers:
        for key in keys:
            if key not in extractor.layers:
                raise ReadoutError(
                    f"{str(path)!r} has a key {key!r}, and {extractor.unknown(key)} If keys are not layers, name the "
                    "layer with --layer, or keep each layer's files in a folder called as the layer."
                )
    for layer in layers or keys:
        if layer not in arrays:
            raise ReadoutError(
                f"{str(path)!r} holds no features of {layer!r}, only {', '.join(map(repr, keys))}; leave that layer "
                "out, or give its features too."
            )
        yield _found(place, arrays, layer, layer, as_text(path.stem))


def _of_one_layer(place: Place, arrays: Arrays, layer: str, called_as_file: Sequence[str]) -> Iterator[Found]:
    """Keys are names of features, but for one that is alone and among ``called_as_file``."""
    keys = [key for key in arrays if key != NAMES]
    for key in keys:
        alone = len(keys) == 1 and key in called_as_file
        yield _found(place, arrays, layer, key, as_text(place.path.stem) if alone else key)


def _found(place: Place, arrays: Arrays, layer: str, key: str, name: str) -> Found:
    path, names = place.path, _names(arrays)
    folders = [as_text(part) for part in path.parts[:-1] if part not in (path.anchor, "..", place.layer)]
    stem = as_text(path.stem)
    inside = names is not None or name != stem
    return Found(arrays[key].where, layer, name, arrays[key], names, [*folders, stem] if inside else folders)


def _names(arrays: Arrays) -> list[str] | None:
    return texts(arrays[NAMES]) if NAMES in arrays else None


def _called_apart(found: Sequence[Found]) -> list[Found]:
    """The same under names led by as many folders as it takes; as they are, if all of them are not enough."""
    for count in range(max((len(one.folders) for one in found), default=0) + 1):
        led = [_led(one, one.folders[max(len(one.folders) - count, 0) :]) for one in found]
        names = [(one.layer, name) for one in led for name in one.names or [one.name]]
        if len({*names}) == len(names):
            return led
    return [*found]


def _led(found: Found, folders: Sequence[str]) -> Found:
    names = found.names and ["/".join([*folders, name]) for name in found.names]
    return replace(found, name="/".join([*folders, found.name]), names=names)
