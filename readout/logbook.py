"""Logbook: what loggers were given already, so that a resumed sweep goes on in the same runs and repeats nothing.

A logger may keep in memory what it is given, so nothing counts as given before its run is closed. Where a process was
killed, a run may have some values twice then, at the same place of their axis; it lacks only live ones.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from readout.files import write_first
from readout.identity import digest
from readout.store import ResultStore

FOLDER = "logged"
"""Where it lies in a sweep's output folder."""


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
        entry = Entry(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Entry()
        entry.keep_in(self._store, path.relative_to(self._store.folder))
        return entry

    def _sweep(self) -> str:
        """The output folder's own random name."""
        return write_first(self._store.folder / FOLDER / "sweep", secrets.token_hex(8))


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
            self._store.write_text(str(self._path), json.dumps(self._kept))
