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
from readout.data import InputData
from readout.extractors import FeatureExtractor
from readout.inversions import FeatureInversion, ImageInversion
from readout.priors import Prior
from readout.runtime import Runtime
from readout.store import ResultStore
from readout.sweep import Sweep

ScaleT = TypeVar("ScaleT")


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

    @property
    def store(self) -> ResultStore:
        """The output folder."""
        return ResultStore(self.folder)

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
        folder = self.folder / name
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
    asked = parser.parse_args(arguments)
    folder = asked.output or Path("runs/experiments") / f"{module}-{asked.scale}"
    return Experiment(module, scales[asked.scale], folder)


def style() -> Any:
    """The look of all figures, as a context."""
    return context(STYLE)
