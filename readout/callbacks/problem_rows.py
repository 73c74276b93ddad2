"""ProblemRows: the problems of a layer as rows of a table, with what was recovered as images, texts or paths."""

from typing import Any, cast

import numpy as np
import pandas as pd

from readout.analysis.sizes import lower_bounds
from readout.analysis.texts import marked
from readout.callbacks.base import LayerResults
from readout.data.images import to_pixels
from readout.store import TOKENS, TRAJECTORY, readable_name

FIRST = ("sample", "level", "draw", "representation_size", "lower_bound", "verdict", "distance", "best_distance")
"""Columns that come first."""


class ProblemRows:
    """One row per problem with the size of its input, largest first; no columns that hold lists.

    Args:
        results: Results of the layer.
        thumbnails: Whether :meth:`images` and :meth:`texts` have any.
    """

    def __init__(self, results: LayerResults, thumbnails: bool = True) -> None:
        self._results, self._thumbnails = results, thumbnails
        self._are_images = results.are_images
        self._are_texts = set(TOKENS) <= set(results.table.columns)
        table = results.table.drop(columns=[*TRAJECTORY, *TOKENS], errors="ignore")
        sizes = results.sizes.assign(lower_bound=lower_bounds(results.sizes).astype(bool))
        table = table.merge(sizes[["sample", "representation_size", "lower_bound"]], on="sample")
        order = ["representation_size", "sample", "draw", "reading", "level"]
        table = table.sort_values(order, ascending=[False, True, True, True, True], ignore_index=True)
        self.table = table[[*FIRST, *(column for column in table.columns if column not in FIRST)]]

    def images(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return true images by sample and recovered ones by key, as bytes; none for other inputs."""
        if not self._thumbnails or not self._are_images:
            return {}, {}
        true, found = self._results.inputs, self._results.recovered
        return {name: to_pixels(x) for name, x in true.items()}, {key: to_pixels(x) for key, x in found.items()}

    def texts(self) -> list[str]:
        """Return the recovered text of each row as HTML, wrong tokens marked; none for other inputs."""
        if not self._thumbnails or not self._are_texts:
            return []
        tokens = self._results.table.set_index("key")[list(TOKENS)].loc[self.table["key"]]
        rows = tokens.itertuples(index=False, name=None)
        return ["" if row[1] is None or isinstance(row[1], float) else marked(*row) for row in rows]

    def with_paths(self) -> pd.DataFrame:
        """Return the table with the path of each recovered image or text, relative to the output folder."""
        suffix = "png" if self._are_images else "txt" if self._are_texts else None
        if suffix is None:
            return self.table
        paths = [
            f"recovered/{readable_name(row, suffix)}" if row["key"] in self._results.recovered else None
            for row in cast(list[dict[str, Any]], self.table.to_dict("records"))
        ]
        return self.table.assign(recovered=pd.Series(paths, index=self.table.index, dtype=object))
