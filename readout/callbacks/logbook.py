"""Logbook: a record of what each run has logged, so that a resumed sweep continues runs and repeats nothing.

A logger may hold values in memory, so they count as logged only after the run is closed. After a process is killed, a
run may therefore have values twice, at the same place of their axis; only live values can be lost.
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
from readout.problems.names import set_aside_if_damaged
from readout.store import ResultStore

FOLDER = "logged"
"""Folder of the logbook in the output folder of a sweep."""

NAME = "sweep"
"""Name of the file that holds the output folder's random name."""

ADVICE = "delete it to log its run again"


class Logbook:
    """One small file per run and logger, so that processes sharing an output folder never write to the same one."""

    def __init__(self, store: ResultStore) -> None:
        self._store = store

    def run_id(self, *identity: Any) -> str:
        """Return the id of a run: a digest of its identity and of the output folder's random name.

        The random name keeps two people who run one configuration into one project out of each other's runs.
        """
        return digest([self._sweep(), *identity])[:16]

    def entry(self, run_id: str, logger: Mapping[str, Any]) -> "Entry":
        """Return the record of a run in a logger; of the logger's arguments, only ``project`` and ``entity`` count."""
        given = {key: value for key, value in (logger.get("init_args") or {}).items() if key in ("project", "entity")}
        name = digest([run_id, logger["class_path"], given])[:16]
        path = self._store.folder / FOLDER / f"{name}.json"
        entry = read_entry(path) if path.exists() else Entry()
        entry.bind(self._store, path.relative_to(self._store.folder))
        return entry

    def set_aside_broken(self) -> list[str]:
        """Rename unreadable files, so that they count as missing; return one sentence per file."""
        sentences = []
        for path in sorted((self._store.folder / FOLDER).glob("*")):
            if path.name == NAME:
                sentences += set_aside_if_damaged(path, read_name, "loggers start new runs")
            elif path.suffix == ".json":
                sentences += set_aside_if_damaged(path, read_entry, "its run is logged again")
        return sentences

    def _sweep(self) -> str:
        """Return the output folder's random name, drawn on first use."""
        path = self._store.folder / FOLDER / NAME
        if not path.exists():
            write_first(path, f"{secrets.token_hex(8)} {UNSEALED}")
        return read_name(path)


@dataclass
class Entry:
    """Record of what a logger has logged of one run; saved only once the run is closed."""

    live_start: int = 0
    """Step at which the running batch starts on the axis of live values."""
    live_last: int = -1
    """Last step logged on that axis; -1 before the first."""
    curves: dict[str, str] = field(default_factory=dict)
    """Level → digest of the problems whose mean curve was logged."""
    content: str = ""
    """Digest of the problems and options behind the logged tables and summary; empty before these are logged."""

    def bind(self, store: ResultStore, path: Path) -> None:
        """Attach the entry to a file; its current values count as saved."""
        self._store, self._path, self._saved = store, path, asdict(self)

    def save(self) -> None:
        """Write all values, if the entry is attached to a file."""
        self._write(**asdict(self))

    def save_start(self) -> None:
        """Write :attr:`live_start` alone: it depends on the stored batches, not on what was logged of them."""
        self._write(live_start=self.live_start)

    def _write(self, **values: Any) -> None:
        if hasattr(self, "_store"):
            self._saved |= values
            self._store.write_text(str(self._path), json.dumps({**self._saved, "seal": UNSEALED}))


def read_name(path: Path) -> str:
    """Read an output folder's random name.

    Raises:
        ReadoutError: if the file can't be read.
    """
    advice = "delete it to start new runs in all loggers"
    known = re.fullmatch(rf"([0-9a-f]{{16}})( {UNSEALED[:-DIGITS]}[0-9a-f]+)?", read_whole(path, advice))
    if known is None:
        raise ReadoutError(f"{str(path)!r} can't be read; {advice}.")
    return known[1]


def read_entry(path: Path) -> Entry:
    """Read the record of one run.

    Raises:
        ReadoutError: if the file can't be read.
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
