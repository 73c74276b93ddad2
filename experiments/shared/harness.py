"""Shared parts of experiments: command line, output folder, resumable sweeps and dictionaries, table and figure."""

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

from readout import load_results, readouts
from readout.analysis.plots import STYLE
from readout.analysis.sizes import lower_bounds, sizes_table
from readout.analysis.statistics import by_sample
from readout.common.errors import ReadoutError
from readout.common.terminal import make_console
from readout.data import InputData
from readout.extractors import FeatureExtractor
from readout.learning import Activations, DictionaryLearner, Learned, learn
from readout.priors import Prior
from readout.readouts import FeatureInversion, FeatureLoss, ImageInversion
from readout.representation import Estimator
from readout.store import ResultStore
from readout.sweep import Sweep
from readout.sweep.runtime import Runtime

ScaleT = TypeVar("ScaleT")

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "china", "flower", "retina", "hubble_deep_field")
"""Photographs that ship with the dependencies; the last two show nothing of daily life."""


@dataclass(frozen=True)
class Readout:
    """A prior and its optimisation (AdamW, linear decay), which together turn features into inputs."""

    prior: Prior
    lr: float
    steps: int
    weight_decay: float = 0.01
    loss: FeatureLoss | None = None
    """Default: the inversion's own."""

    def inversion(
        self, extractor: FeatureExtractor, kind: type[FeatureInversion] = ImageInversion, **kwargs: Any
    ) -> FeatureInversion:
        """Build the inversion of one network.

        Args:
            extractor: The frozen network.
            kind: Class of the inversion.
            kwargs: Further arguments of the class, such as ``metrics`` or ``record_every``.
        """
        optimizer = partial(AdamW, lr=self.lr, weight_decay=self.weight_decay)
        return kind(extractor=extractor, prior=self.prior, optimizer=optimizer, loss=self.loss, **kwargs)


@dataclass(frozen=True)
class Experiment(Generic[ScaleT]):
    """One run of an experiment: its scale, and the folders it reads and writes."""

    name: str
    scale: ScaleT
    folder: Path
    images: Path | None = None
    sweeps: Path | None = None
    """Folder of the sweeps; default: ``folder``."""

    def image_folder(self) -> str:
        """Return the folder of the user's images.

        Raises:
            ReadoutError: if there is no --images.
        """
        if self.images is None:
            raise ReadoutError("This scale needs images of your own; give their folder as --images FOLDER.")
        return str(self.images)

    @property
    def store(self) -> ResultStore:
        """Store in the output folder."""
        return ResultStore(self.folder)

    def sweep_store(self, name: str) -> ResultStore:
        """Return the store of a sweep."""
        return ResultStore((self.sweeps or self.folder) / name)

    def sweep(
        self,
        name: str,
        readout: readouts.Readout,
        data: InputData,
        *,
        steps: int,
        layers: str | Sequence[str],
        levels: Sequence[float],
        seed: int = 0,
        **settings: Any,
    ) -> pd.DataFrame:
        """Run or resume a sweep.

        Args:
            name: Sub-folder of the sweep; several sweeps may share one.
            readout: The readout, with its extractor.
            data: The inputs.
            steps: Optimisation steps.
            layers: See :class:`readout.sweep.Sweep`.
            levels: See :class:`readout.sweep.Sweep`.
            seed: Seed of all random numbers.
            settings: Further arguments of :class:`readout.sweep.Sweep`, such as ``draws`` or ``threshold``.

        Returns:
            Only this sweep's results, with trajectories, one row per problem.
        """
        folder = self.sweep_store(name).folder
        sweep = Sweep(layers, levels, output=str(folder), **settings)
        runtime = Runtime(trainer={"max_steps": steps, "devices": 1}, seed=seed)
        # `readout.cli report` makes the page of a folder, for those who want it
        _, sizes, _ = sweep.measure(readout, data, runtime, make_console(), report=False)
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

    def learn(self, name: str, learner: DictionaryLearner, data: Activations, steps: int) -> Learned:
        """Learn a dictionary, unless the folder holds it; see :func:`readout.learning.learn`.

        Args:
            name: Sub-folder of the dictionary.
            learner: How.
            data: From what.
            steps: Training steps.
        """
        runtime = Runtime(trainer={"max_steps": steps, "devices": 1})
        return learn(learner, data, (self.sweeps or self.folder) / name, runtime)

    def finish(self, table: pd.DataFrame, figure: Figure, *sentences: str) -> None:
        """Write ``NAME.csv``, ``figures/NAME.png`` and ``.svg`` and ``result.txt``; print the sentences.

        Args:
            table: The numbers behind the figure.
            figure: Drawn under :func:`style`.
            sentences: Result in words.
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
    """Parse the command line of an experiment.

    Args:
        module: Name of the experiment.
        description: Docstring of the experiment, for ``--help``.
        scales: ``smoke``, ``cpu`` and ``paper``.
        arguments: Arguments; default: those of the process.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=scales, default="cpu", help="size of the experiment (default: cpu)")
    parser.add_argument("--output", type=Path, help="output folder (default: runs/experiments/NAME-SCALE)")
    parser.add_argument("--images", type=Path, help="image folder for scales that need it, one sub-folder per class")
    parser.add_argument("--sweeps", type=Path, help="folder of sweeps, to share them (default: the output folder)")
    parsed = parser.parse_args(arguments)
    folder = parsed.output or Path("runs/experiments") / f"{module}-{parsed.scale}"
    return Experiment(module, scales[parsed.scale], folder, parsed.images, parsed.sweeps)


def sample_sizes(results: pd.DataFrame) -> pd.DataFrame:
    """Return sizes with one row per (layer, sample), averaged over draws.

    Args:
        results: Results of :meth:`Experiment.sweep` for one network and readout.

    Returns:
        Columns ``layer, sample, label, feature_dim, input_dim, size`` (where the isotonic curve crosses the threshold,
        the only estimator that does not depend on the levels tested), ``mean_distance`` (mean d_X over levels above 0,
        which distinguishes inputs even where all sizes are 0) and ``lower_bound`` (share of draws whose size is a
        lower bound).
    """
    draws = [sizes_table(group, Estimator.CROSSING) for _, group in results.groupby("draw", sort=False)]
    sizes = pd.concat([draw.assign(lower_bound=lower_bounds(draw).astype(float)) for draw in draws])
    sizes = by_sample(sizes.rename(columns={"representation_size": "size"}), ["size", "lower_bound"])
    distances = by_sample(results[results["level"] > 0].rename(columns={"distance": "mean_distance"}), "mean_distance")
    what = results[["layer", "sample", "label", "feature_dim", "input_dim"]].drop_duplicates(["layer", "sample"])
    return what.merge(sizes, on=["layer", "sample"]).merge(distances, on=["layer", "sample"])


def style() -> Any:
    """Return a context with the style of all figures."""
    return context(STYLE)
