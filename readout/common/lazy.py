"""LazyMapping: values that are loaded when they are asked for."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class LazyMapping(Mapping[str, T]):
    """A mapping that keeps its keys in memory, and loads a value each time it is asked for.

    Args:
        keys: The keys, in order.
        load: Loads the value of a key.

    Examples:
        >>> lengths = LazyMapping({"cat": None, "horse": None}, len)
        >>> lengths["horse"], "dog" in lengths
        (5, False)
    """

    def __init__(self, keys: Collection[str], load: Callable[[str], T]) -> None:
        self._keys, self._load = keys, load

    def __getitem__(self, key: str) -> T:
        if key not in self._keys:
            raise KeyError(key)
        return self._load(key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
