"""Logbook: what loggers were given already, so that a resumed sweep goes on in the same runs and repeats nothing.

A logger may keep in memory what it is given, so nothing counts as given before its run is closed. Where a process was
killed, a run may have some values twice then, at the same place of their axis; it lacks only live ones.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from readout.common.errors import ReadoutError
from readout.common.files import read_whole, write_first
from readout.common.seal import DIGITS, UNSEALED
from readout.problems.identity import digest
from readout.store import ResultStore, set_aside_if_damaged

FOLDER = "logged"
"""Where it lies in a sweep's output folder."""

NAME = "sweep"
"""The file in it with the output folder's own random name."""

ADVICE = "delete it, and what it says was logged is logged again"


class Logbook:
    """One small file a run and logger, so that processes that share an output folder do not meet.

    Args:
        store: The output folder.
    """

    def __init__(self, store: ResultStore) -> None:
        self._store = store

    def run_id(self, *identity: Any) -> str:
        """Names a run: the same for the same thing in the same output folder, and for nothing else.

        Two people who run one configuration into one project must not write into each other's runs. So an output
        folder draws a random name for itself, once.

        Args:
            identity: What the run is of.
        """
        return digest([self._sweep(), *identity])[:16]

    def entry(self, run_id: str, logger: Mapping[str, Any]) -> "Entry":
        """What a logger was given of a run.

        Args:
            run_id: See :meth:`run_id`.
            logger: The logger's class and arguments. Those that say how, and not where, do not count.
        """
        given = {key: value for key, value in (logger.get("init_args") or {}).items() if key in ("project", "entity")}
        name = digest([run_id, logger["class_path"], given])[:16]
        path = self._store.folder / FOLDER / f"{name}.json"
        entry = read_entry(path) if path.exists() else Entry()
        entry.keep_in(self._store, path.relative_to(self._store.folder))
        return entry

    def set_aside_broken(self) -> list[str]:
        """Rename what can't be read, so that it counts as not there.

        Returns:
            A sentence for each file.
        """
        sentences = []
        for path in sorted((self._store.folder / FOLDER).glob("*")):
            if path.name == NAME:
                sentences += set_aside_if_damaged(path, read_name, "loggers begin new runs")
            elif path.suffix == ".json":
                sentences += set_aside_if_damaged(path, read_entry, "what it says was logged is logged again")
        return sentences

    def _sweep(self) -> str:
        """The output folder's own random name."""
        path = self._store.folder / FOLDER / NAME
        if not path.exists():
            write_first(path, f"{secrets.token_hex(8)} {UNSEALED}")
        return read_name(path)


@dataclass
class Entry:
    """What a logger was given of one run; :meth:`save` keeps it, once the run is closed."""

    live_start: int = 0
    """Where the present batch starts on the axis of live values."""
    live_last: int = -1
    """The last place on it that was logged; -1 before the first."""
    curves: dict[str, str] = field(default_factory=dict)
    """Level → digest of the problems whose mean curve was logged."""
    content: str = ""
    """Digest of what tables and summary were made of; empty before they were logged."""

    def keep_in(self, store: ResultStore, path: Path) -> None:
        """Say where it is kept, and take what it is now for what is kept there."""
        self._store, self._path, self._kept = store, path, asdict(self)

    def save(self) -> None:
        """Write it; nothing, if it is kept nowhere."""
        self._write(**asdict(self))

    def save_start(self) -> None:
        """Write :attr:`live_start` alone: it follows from the batches that are stored, whatever was logged of them."""
        self._write(live_start=self.live_start)

    def _write(self, **values: Any) -> None:
        if hasattr(self, "_store"):
            self._kept |= values
            self._store.write_text(str(self._path), json.dumps({**self._kept, "seal": UNSEALED}))


def read_name(path: Path) -> str:
    """An output folder's own random name.

    Raises:
        ReadoutError: if it can't be read.
    """
    advice = "delete it, and loggers begin new runs"
    known = re.fullmatch(rf"([0-9a-f]{{16}})( {UNSEALED[:-DIGITS]}[0-9a-f]+)?", read_whole(path, advice))
    if known is None:
        raise ReadoutError(f"{str(path)!r} can't be read; {advice}.")
    return known[1]


def read_entry(path: Path) -> Entry:
    """What a logger was given of one run.

    Raises:
        ReadoutError: if it can't be read.
    """
    text = read_whole(path, ADVICE)
    try:
        known = json.loads(text)
        entry = Entry(**{name: value for name, value in known.items() if name != "seal"})
        if list(map(type, vars(entry).values())) != list(map(type, vars(Entry()).values())):
            raise TypeError("an entry of another type")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ReadoutError(f"{str(path)!r} can't be read; {ADVICE}.") from error
    return entry
