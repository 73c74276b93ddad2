"""Design: what a sweep crosses, kept beside its results."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from typing_extensions import Self

from readout.problems.search import Search, next_levels, recovered_levels

FILE = "planned.json"
"""File of a :class:`Design` in an output folder."""


@dataclass(frozen=True)
class Design:
    """What the last sweep into a folder set out to do, kept beside the results so that a page can tell what is missing.

    Attributes are those of :class:`readout.problems.Problem`, and of :class:`readout.sweep.Sweep`.
    """

    setting: str
    seed: int
    search: Search
    layers: Sequence[str]
    samples: Sequence[str]
    levels: Sequence[float]
    draws: int

    def to_json(self) -> str:
        """Return the text of :data:`FILE`."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the design kept in an output folder, or None if there is none."""
        try:
            return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def lacking(self, results: pd.DataFrame) -> int:
        """How many problems are still to be inverted; of a search, at least so many.

        Args:
            results: One row a problem.
        """
        rows = results[(results["setting"] == self.setting) & (results["seed"] == self.seed)]
        rows = rows[rows["level"].isin(self.levels) & (rows["draw"] < self.draws)]
        count = 0
        for layer in self.layers:
            of_layer = rows[(rows["layer"] == layer) & rows["sample"].isin(self.samples)]
            if self.search == "grid":
                count += len(self.samples) * len(self.levels) * self.draws - len(of_layer)
                continue
            known = recovered_levels(of_layer, self.draws)
            count += sum(self.draws * len(next_levels(self.levels, known.get(name, {}))) for name in self.samples)
        return count
