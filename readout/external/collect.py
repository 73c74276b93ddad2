"""Find the external features in files and folders, with the layer and name of each."""

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
"""Key of an array that names a file's features, one text per row."""

NO_NAMES = (WHOLE, "feat", "arr_0")
"""Keys that do not name a feature when they are a file's only key: bdpy and NumPy write them for any array."""


@dataclass(frozen=True)
class Found:
    """An array from a file: one feature of a layer, or several as rows."""

    where: str
    """Key and file, for messages."""
    layer: str
    name: str
    """Name of the feature if the array holds one; otherwise the prefix of numbered names."""
    values: NDArray[Any] | Stored
    """:class:`Stored` values are read only when NumPy converts them."""
    names: Sequence[str] | None = None
    """Name of each row, if the file has :data:`NAMES`."""
    folders: Sequence[str] = ()
    """Prefixes that can disambiguate the name: folders other than the layer's; the file's stem if the name is a key."""


class Place(NamedTuple):
    """A file, and the layer that its path names."""

    path: Path
    layer: str | None
    """Last folder on the path that has a layer's name."""
    searched: bool
    """Whether that folder lies below a searched one; then it decides the layer, and keys can't override it."""


def collect(paths: Sequence[str | Path], extractor: FeatureExtractor, layers: Sequence[str] = ()) -> list[Found]:
    """Find features in files and folders.

    Keys in a file are layer names. If they are not, a folder on the file's path names the layer, or else ``layers``
    does, and keys are feature names; a single array in a layer's folder takes the file's name. Folders are searched
    recursively; if some of their subfolders have layers' names, only files in those count.

    If two features of a layer would share a name, all names are prefixed by as many folders as make them unique, except
    layers' folders: ``conv2_1/S1/VC/cat.mat`` and ``conv3_1/S1/VC/cat.mat`` hold ``S1/VC/cat`` of two layers.

    Args:
        paths: Files or folders.
        extractor: Network with these layers.
        layers: Layers to take; empty for all found.

    Returns:
        The arrays found; values are not read yet.

    Raises:
        ReadoutError: if a path can't be read or holds no features, or there are none of a layer in ``layers``.

    Examples:
        >>> import numpy as np
        >>> from torch import nn
        >>> from readout.extractors import FeatureExtractor
        >>> np.savez("cat.npz", early=np.arange(4.0), late=np.arange(2.0))
        >>> network = FeatureExtractor(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), {"early": "0", "late": "1"})
        >>> [(one.name, one.layer, one.values.shape) for one in collect(["cat.npz"], network)]
        [('cat', 'early', (4,)), ('cat', 'late', (2,))]
    """
    layers = extractor.resolve(layers) if layers else []
    if not paths:
        raise ReadoutError("There are no features to invert; name a file or a folder with --features.")
    found: list[Found] = []
    for path in map(user_path, paths):
        for place in _in_folder(path, extractor) if path.is_dir() else [_place(path, extractor)]:
            found += _in_file(place, extractor, layers)
    for layer in layers:
        if not any(one.layer == layer for one in found):
            raise ReadoutError(
                f"--features holds no features of {layer!r} (files in a folder with a layer's name belong to that "
                "layer); leave it out, or add its features."
            )
    return _disambiguate(found)


def _in_folder(folder: Path, extractor: FeatureExtractor) -> list[Place]:
    files = find_files(folder, lambda path: path.suffix.lower() in READERS, f"features ({', '.join(READERS)})")
    if not files:
        raise ReadoutError(f"There are no features in {str(folder)!r}; name a folder with {', '.join(READERS)} files.")
    depth = len(folder.parts)
    places = [_place(path, extractor, depth) for path in files]
    return [place for place in places if place.searched] or places


def _place(path: Path, extractor: FeatureExtractor, depth: int | None = None) -> Place:
    """Locate the layer on a path; ``depth`` is the number of parts of the searched folder, None for a single file."""
    of_layers = [index for index, part in enumerate(path.parts[:-1]) if part in extractor.layers]
    if not of_layers:
        return Place(path, None, False)
    return Place(path, path.parts[of_layers[-1]], depth is not None and of_layers[-1] >= depth)


def _in_file(place: Place, extractor: FeatureExtractor, layers: Sequence[str]) -> Iterator[Found]:
    path, layer, searched = place
    if searched and layers and layer not in layers:
        return
    arrays = read_arrays(path)
    keys = [key for key in arrays if key != NAMES]
    if layer and (searched or not any(key in extractor.layers for key in keys)):
        if not layers or layer in layers:
            yield from _of_one_layer(place, arrays, layer, nameless=keys)
        return
    keys_are_layers = not layers or len(layers) > 1 or layers[0] in arrays
    if not keys_are_layers:
        yield from _of_one_layer(place, arrays, layers[0], nameless=NO_NAMES)
        return
    if WHOLE in arrays:
        raise ReadoutError(f"{str(path)!r} does not name the layer of its features; name it with --layer.")
    if not layers:
        for key in keys:
            if key not in extractor.layers:
                raise ReadoutError(
                    f"{str(path)!r} has a key {key!r}, and {extractor.unknown(key)} If keys are not layers, name the "
                    "layer with --layer, or keep each layer's files in a folder with the layer's name."
                )
    for layer in layers or keys:
        if layer not in arrays:
            raise ReadoutError(
                f"{str(path)!r} holds no features of {layer!r}, only {', '.join(map(repr, keys))}; leave that layer "
                "out, or add its features."
            )
        yield _found(place, arrays, layer, layer, as_text(path.stem))


def _of_one_layer(place: Place, arrays: Arrays, layer: str, nameless: Sequence[str]) -> Iterator[Found]:
    """Take keys as feature names; a file's only key, if it is in ``nameless``, gives way to the file's stem."""
    keys = [key for key in arrays if key != NAMES]
    for key in keys:
        alone = len(keys) == 1 and key in nameless
        yield _found(place, arrays, layer, key, as_text(place.path.stem) if alone else key)


def _found(place: Place, arrays: Arrays, layer: str, key: str, name: str) -> Found:
    path, names = place.path, _names(arrays)
    folders = [as_text(part) for part in path.parts[:-1] if part not in (path.anchor, "..", place.layer)]
    stem = as_text(path.stem)
    inside = names is not None or name != stem
    return Found(arrays[key].where, layer, name, arrays[key], names, [*folders, stem] if inside else folders)


def _names(arrays: Arrays) -> list[str] | None:
    return texts(arrays[NAMES]) if NAMES in arrays else None


def _disambiguate(found: Sequence[Found]) -> list[Found]:
    """Prefix names with as few folders as make them unique; leave them alone if all folders do not suffice."""
    for count in range(max((len(one.folders) for one in found), default=0) + 1):
        prefixed = [_prefix(one, one.folders[max(len(one.folders) - count, 0) :]) for one in found]
        names = [(one.layer, name) for one in prefixed for name in one.names or [one.name]]
        if len({*names}) == len(names):
            return prefixed
    return [*found]


def _prefix(found: Found, folders: Sequence[str]) -> Found:
    names = found.names and ["/".join([*folders, name]) for name in found.names]
    return replace(found, name="/".join([*folders, found.name]), names=names)
