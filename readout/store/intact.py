"""Intact: reading of results files only if they are undamaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from readout.common.errors import ReadoutError
from readout.common.seal import is_damaged


class Intact:
    """Lets files be read if their seals hold; checks each seal once, because files may be large."""

    def __init__(self) -> None:
        self._checked: dict[Path, int] = {}

    @contextmanager
    def __call__(self, path: Path) -> Iterator[None]:
        """Check a file, and turn whatever reading it raises inside the context into one sentence.

        Raises:
            ReadoutError: if the file is damaged or can't be read.
        """
        try:
            written = path.stat().st_mtime_ns
            if self._checked.get(path) != written:
                if is_damaged(path):  # checked first: parsers may crash on damaged bytes
                    raise _broken(path)
                self._checked[path] = written
            yield
        except Exception as error:  # a damaged file may raise anything
            raise _broken(path) from error


def _broken(path: Path) -> ReadoutError:
    return ReadoutError(
        f"The results file {str(path)!r} is damaged or can't be read; run the same command again, which sets it "
        "aside and recomputes only its problems."
    )
