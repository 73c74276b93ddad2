"""Index: which part holds the row of each problem, and which file its recovered input."""

from collections.abc import Collection, Iterable, KeysView, Mapping, Set
from itertools import chain
from typing import NamedTuple


class Place(NamedTuple):
    """Where the answer to a problem is; names of files are without suffix."""

    part: str
    """Part with its row."""
    file: str
    """File with its recovered input."""


class Contents(NamedTuple):
    """Contents of a part."""

    keys: Mapping[str, Collection[str]]
    """Keys of problems by the file with their recovered inputs."""
    setting: str
    layer: str | None
    """None if there are several settings or layers."""


class Index:
    """Places of the answers in a folder, by key.

    Of several rows with one key, the first counts that has a recovered input.

    Args:
        files: Names of the files of recovered inputs in the folder.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self.parts: dict[str, tuple[str, str | None]] = {}
        """Setting and layer of each part."""
        self.repeated: set[str] = set()
        """Parts that share keys with other parts, so that some of their rows may not count."""
        self._files = set(files)
        self._finished: dict[str, Place] = {}
        self._unfinished: dict[str, Place] = {}

    @property
    def finished(self) -> KeysView[str]:
        """Keys of problems with a row and a file of recovered inputs."""
        return self._finished.keys()

    def __getitem__(self, key: str) -> Place:
        """Return where the row that counts is."""
        return self._finished.get(key) or self._unfinished[key]

    def holding(self, keys: Iterable[str]) -> list[str]:
        """List the parts with the rows that count for these keys."""
        return sorted({self[key].part for key in keys if key in self._finished or key in self._unfinished})

    def counting(self, parts: Set[str]) -> dict[str, list[str]]:
        """Return the keys whose rows in these parts count, by the file with the recovered input."""
        found: dict[str, list[str]] = {}
        for key, place in chain(self._finished.items(), self._unfinished.items()):
            if place.part in parts:
                found.setdefault(place.file, []).append(key)
        return found

    def append(self, part: str, contents: Contents) -> None:
        """Add a part whose files of recovered inputs were just written."""
        self._files.update(contents.keys)
        self.add(part, contents)

    def add(self, part: str, contents: Contents) -> None:
        """Add a part that was found in the folder."""
        self.parts[part] = contents.setting, contents.layer
        for file, keys in contents.keys.items():
            new, place = set(keys), Place(part, file)
            answered, gone = new & self._finished.keys(), new & self._unfinished.keys()
            if shared := answered | gone:
                self.repeated |= {part, *(self[key].part for key in shared)}
            if file in self._files:
                self._finished.update(dict.fromkeys(new - answered, place))
                for key in gone:
                    del self._unfinished[key]
            else:
                self._unfinished.update(dict.fromkeys(new - shared, place))

    def replace(self, parts: Set[str], part: str, contents: Contents) -> None:
        """Replace parts by a part with those of their rows that count."""
        for old in parts:
            del self.parts[old]
        self.repeated -= parts
        self.parts[part] = contents.setting, contents.layer
        for file, keys in contents.keys.items():
            places = self._finished if file in self._files else self._unfinished
            places.update(dict.fromkeys(keys, Place(part, file)))
