"""Design: layers, inputs, levels and draws that a sweep crosses, kept beside its results."""

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
    """Plan of the last sweep into a folder, kept so that the report can tell how many results are missing.

    See :class:`readout.problems.Problem` and :class:`readout.sweep.Sweep` for the attributes.
    """

    setting: str
    seed: int
    search: Search
    layers: Sequence[str]
    samples: Sequence[str]
    levels: Sequence[float]
    draws: int
    readings: int = 1

    def to_json(self) -> str:
        """Return the text of :data:`FILE`."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read the design in an output folder; None if there is none."""
        try:
            return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def lacking(self, results: pd.DataFrame) -> int:
        """Return how many problems are still to be inverted; for a search, a lower bound.

        Args:
            results: One row per problem.

        Examples:
            >>> design = Design("abc", 0, "grid", layers=["fc"], samples=["cat"], levels=[0.0, 0.5, 0.9], draws=1)
            >>> rows = {"setting": "abc", "seed": 0, "layer": "fc", "sample": "cat", "level": [0.0, 0.5], "draw": 0}
            >>> rows |= {"reading": 0}
            >>> design.lacking(pd.DataFrame(rows))
            1
        """
        rows = results[(results["setting"] == self.setting) & (results["seed"] == self.seed)]
        rows = rows[rows["level"].isin(self.levels) & (rows["draw"] < self.draws) & (rows["reading"] < self.readings)]
        rows = rows[rows["layer"].isin(self.layers) & rows["sample"].isin(self.samples)]
        repeats = self.draws * self.readings
        if self.search == "grid":
            return len(self.layers) * len(self.samples) * len(self.levels) * repeats - len(rows)
        known = {layer: recovered_levels(of_layer, repeats) for layer, of_layer in rows.groupby("layer")}
        tested = [known.get(layer, {}).get(name, {}) for layer in self.layers for name in self.samples]
        return repeats * sum(len(next_levels(self.levels, recovered)) for recovered in tested)
