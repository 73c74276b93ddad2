"""What every experiment shares: its command line, its output folder, sweeps that resume, and how it ends."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.style import context
from torch.optim import AdamW

from readout import load_results
from readout.analysis.plots import STYLE
from readout.analysis.sizes import lower_bounds, sizes_table
from readout.analysis.statistics import by_sample
from readout.common.errors import ReadoutError
from readout.data import InputData
from readout.extractors import FeatureExtractor
from readout.inversions import FeatureInversion, ImageInversion
from readout.priors import Prior
from readout.representation import Estimator
from readout.store import ResultStore
from readout.sweep import Sweep
from readout.sweep.runtime import Runtime

ScaleT = TypeVar("ScaleT")

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "china", "flower", "retina", "hubble_deep_field")
"""Photographs that are on every machine; the last two are of nothing that people meet."""


@dataclass(frozen=True)
class Readout:
    """What turns a feature into an input: a prior, and how it is optimised (AdamW, linear decay)."""

    prior: Prior
    lr: float
    steps: int
    weight_decay: float = 0.01

    def inversion(
        self, extractor: FeatureExtractor, kind: type[FeatureInversion] = ImageInversion, **kwargs: Any
    ) -> FeatureInversion:
        """The readout of one network.

        Args:
            extractor: The frozen network.
            kind: The class of inversion.
            kwargs: Its further arguments, such as ``metrics`` or ``record_every``.
        """
        optimizer = partial(AdamW, lr=self.lr, weight_decay=self.weight_decay)
        return kind(extractor=extractor, prior=self.prior, optimizer=optimizer, **kwargs)


@dataclass(frozen=True)
class Experiment(Generic[ScaleT]):
    """One run of an experiment: how large it is and where everything goes."""

    name: str
    scale: ScaleT
    folder: Path
    images: Path | None = None
    sweeps: Path | None = None
    """Where sweeps are and go, if not below ``folder``."""

    def image_folder(self) -> str:
        """The user's images.

        Raises:
            ReadoutError: if none were given.
        """
        if self.images is None:
            raise ReadoutError("This scale needs images of your own; give their folder as --images FOLDER.")
        return str(self.images)

    @property
    def store(self) -> ResultStore:
        """The output folder."""
        return ResultStore(self.folder)

    def sweep_store(self, name: str) -> ResultStore:
        """The output folder of a sweep."""
        return ResultStore((self.sweeps or self.folder) / name)

    def sweep(
        self,
        name: str,
        inversion: FeatureInversion,
        data: InputData,
        *,
        steps: int,
        layers: str | Sequence[str],
        levels: Sequence[float],
        seed: int = 0,
        **settings: Any,
    ) -> pd.DataFrame:
        """Invert what is not inverted yet.

        Args:
            name: Sub-folder of the sweep; several sweeps may share one.
            inversion: The readout, with its extractor.
            data: The inputs.
            steps: Optimisation steps.
            layers: As for :class:`readout.sweep.Sweep`.
            levels: The same.
            seed: Seed of all random numbers.
            settings: Further arguments of :class:`readout.sweep.Sweep`, such as ``draws`` or ``threshold``.

        Returns:
            This sweep's results with their trajectories, one row a problem, whatever else the folder holds.
        """
        folder = self.sweep_store(name).folder
        sweep = Sweep(layers, levels, output=str(folder), **settings)
        sizes = sweep.run(inversion, data, Runtime(trainer={"max_steps": steps, "devices": 1}, seed=seed))
        results = load_results(folder, threshold=float(sizes["threshold"].iloc[0]), trajectories=True)
        mine = (
            results["setting"].isin(sizes["setting"])
            & results["layer"].isin(sizes["layer"])
            & results["sample"].isin(sizes["sample"])
            & results["level"].isin(sweep.levels)
            & (results["draw"] < sweep.draws)
            & (results["seed"] == seed)
        )
        return results[mine].reset_index(drop=True)

    def finish(self, table: pd.DataFrame, figure: Figure, *sentences: str) -> None:
        """Write ``NAME.csv``, ``figures/NAME.png`` and ``.svg`` and ``result.txt``; print the sentences.

        Args:
            table: The numbers behind the figure.
            figure: Drawn under :func:`style`.
            sentences: The result in words.
        """
        self.store.write_text(f"{self.name}.csv", table.to_csv(index=False))
        with style():
            self.store.write_figure(self.name, figure)
        text = "\n".join(sentences)
        self.store.write_text("result.txt", text + "\n")
        print(text)


def begin(
    module: str, description: str | None, scales: Mapping[str, ScaleT], arguments: Sequence[str] | None = None
) -> Experiment[ScaleT]:
    """Read the command line.

    Args:
        module: Name of the experiment.
        description: Its docstring.
        scales: ``smoke``, ``cpu`` and ``paper``.
        arguments: In place of the command line.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=scales, default="cpu", help="how large everything is (default: cpu)")
    parser.add_argument("--output", type=Path, help="where everything goes (default: runs/experiments/NAME-SCALE)")
    parser.add_argument("--images", type=Path, help="a folder of images, one sub-folder a class, for scales that ask")
    parser.add_argument("--sweeps", type=Path, help="where inversions are and go, to share them (default: the output)")
    asked = parser.parse_args(arguments)
    folder = asked.output or Path("runs/experiments") / f"{module}-{asked.scale}"
    return Experiment(module, scales[asked.scale], folder, asked.images, asked.sweeps)


def sample_sizes(results: pd.DataFrame) -> pd.DataFrame:
    """One row a (layer, sample), draws averaged within samples.

    Args:
        results: What :meth:`Experiment.sweep` gives, of one network and readout.

    Returns:
        Columns ``layer, sample, label, feature_dim, input_dim, size`` (where the isotonic curve crosses the
        threshold: of the three estimators the one that does not depend on which levels were tested),
        ``mean_distance`` (mean d_X over levels above 0, which still tells inputs apart where every size is 0) and
        ``lower_bound`` (the share of draws whose size is one).
    """
    draws = [sizes_table(group, Estimator.CROSSING) for _, group in results.groupby("draw", sort=False)]
    sizes = pd.concat([draw.assign(lower_bound=lower_bounds(draw).astype(float)) for draw in draws])
    sizes = by_sample(sizes.rename(columns={"representation_size": "size"}), ["size", "lower_bound"])
    distances = by_sample(results[results["level"] > 0].rename(columns={"distance": "mean_distance"}), "mean_distance")
    what = results[["layer", "sample", "label", "feature_dim", "input_dim"]].drop_duplicates(["layer", "sample"])
    return what.merge(sizes, on=["layer", "sample"]).merge(distances, on=["layer", "sample"])


def style() -> Any:
    """The look of all figures, as a context."""
    return context(STYLE)
