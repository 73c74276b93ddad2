"""Output folders of sweeps as read for a report."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from readout.analysis.drawn import with_trajectories
from readout.analysis.sizes import SIGNALS, reader_of, signal_of, sizes_table
from readout.common.errors import ReadoutError
from readout.common.files import user_path
from readout.prediction.beside import read_predictions
from readout.problems.design import Design
from readout.representation import Estimator
from readout.store import ResultStore, load_results, read_config


@dataclass(frozen=True)
class Output:
    """Results of a sweep, from its output folder."""

    name: str
    """Shortest path that distinguishes the folder from the others."""
    store: ResultStore
    results: pd.DataFrame
    """One row per problem to show."""
    sizes: pd.DataFrame
    config: dict[str, Any]

    @cached_property
    def layers(self) -> list[str]:
        """Layer names in the order of the results."""
        return [str(name) for name in self.results["layer"].unique()]

    @cached_property
    def samples(self) -> list[str]:
        """Sample names in the order of the results."""
        return [str(name) for name in self.results["sample"].unique()]

    @property
    def reader(self) -> str:
        """Name of the readout; see :func:`readout.analysis.sizes.reader_of`."""
        return reader_of(self.results)

    @property
    def words(self) -> tuple[str, str] | None:
        """Columns of the true and the recovered signal, if signals are words and not inputs."""
        return SIGNALS.get(signal_of(self.results))

    @property
    def reads_inputs(self) -> bool:
        """Whether what is read has the form of an input."""
        return signal_of(self.results) == "input"

    @property
    def iterates(self) -> bool:
        """Whether the readout goes by steps, so that there are trajectories."""
        return bool((self.results["steps"] > 0).any())

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Predictions for these layers and inputs, one row per (layer, sample, level)."""
        known = read_predictions(self.store)
        if known.empty:
            return known
        shown = known["layer"].isin(self.layers) & known["sample"].isin(self.samples)
        shown &= known["weights_digest"].isin(self.results["weights_digest"])
        return known[shown].drop_duplicates(["layer", "sample", "level"], keep="last").reset_index(drop=True)

    @property
    def lacks(self) -> list[str]:
        """Sentences that say what is missing from the folder."""
        sentences, total = [], len(self.results)
        design = Design.read(self.store.folder)
        if design and design.setting == self.results["setting"].iloc[0]:
            missing = design.lacking(self.results)
            if missing:
                sentences.append(
                    f"{total:,} of {total + missing:,} inversions are here; the others are not finished, or were "
                    "removed. Run the sweep's command again to compute them."
                )
        pictures = total - len(self.store.finished() & {*self.results["key"]})
        if pictures:
            sentences.append(
                f"Recovered inputs of {pictures:,} of {total:,} inversions are missing, so they are not shown. Run the "
                "sweep's command again to recompute them."
            )
        return sentences

    @cached_property
    def setting(self) -> dict[str, Any]:
        """Setting of the results; empty if it was not saved."""
        return self.store.read_setting(str(self.results["setting"].iloc[0]))

    @cached_property
    def levels(self) -> list[float]:
        """Perturbation levels, ascending."""
        return sorted(self.results["level"].unique())

    def drawn(self, inputs: Collection[str]) -> pd.DataFrame:
        """Return the problems of these inputs, with the trajectories of d_X.

        Raises:
            ReadoutError: if a part can't be read.
        """
        chosen = self.results[self.results["sample"].isin(inputs)].reset_index(drop=True)
        return with_trajectories(chosen, self.store, "trajectory_distance") if self.iterates else chosen


def read_outputs(folders: Sequence[str | Path]) -> list[Output]:
    """Read output folders; of a folder with results of several settings, the latest setting.

    Raises:
        ReadoutError: if a folder holds no results of a sweep or can't be read, or two are the same.
    """
    paths = [user_path(folder) for folder in folders]
    for place, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:place]]:
            raise ReadoutError(f"{str(path)!r} was given twice; name each output folder once.")
    return [_read(path, name) for path, name in zip(paths, short_names(paths), strict=True)]


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that are distinct.

    Examples:
        >>> short_names([Path("runs/vgg/seed0"), Path("runs/clip/seed0")])
        ['vgg/seed0', 'clip/seed0']
    """
    parts = [path.resolve().parts for path in paths]
    deepest = max(map(len, parts))
    ends = ([part[-length:] for part in parts] for length in range(1, deepest + 1))
    distinct = next(names for names in ends if len(set(names)) == len(names))
    return ["/".join(name) for name in distinct]


def _read(folder: Path, name: str) -> Output:
    results = load_results(folder)
    store, config = ResultStore(folder), read_config(folder)
    estimator = Estimator((config.get("sweep") or {}).get("estimator") or "max")
    results = results[results["setting"] == store.latest_setting()].reset_index(drop=True)
    if results["level"].isna().all():
        raise ReadoutError(
            f"{str(folder)!r} holds external features, which have no levels to compare; make its report by itself."
        )
    return Output(name, store, results, sizes_table(results, estimator), config)
