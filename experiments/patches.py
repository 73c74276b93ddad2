"""Are atoms of patches of photographs localised and oriented, as Olshausen & Field (1996) found?

    python -m experiments.patches --scale cpu

learns a dictionary of whitened patches by alternating sparse coding, and compares its atoms and codes with principal
components and with patches themselves as atoms: the share of its pixels that an atom uses, how much of its power has
one orientation, and the excess kurtosis of codes, which is 0 for a Gaussian.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.shared.claims import stands
from experiments.shared.dictionaries import infer
from experiments.shared.drawing import COLORS, dots, name_columns
from experiments.shared.harness import Experiment, begin, style
from readout.analysis.statistics import bootstrap_interval
from readout.codes import Dictionary
from readout.data import ImageFolder, InputData, Photographs
from readout.extractors import Patches
from readout.learning import Activations, AlternatingLearner

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "china", "flower", "camera", "grass", "gravel", "moon")
MEASURES = {
    "pixels": "share of pixels in use",
    "orientation": "orientation selectivity",
    "kurtosis": "excess kurtosis of codes",
    "projected": "excess kurtosis of projections",
}
HELD_OUT = 0.3
"""Share of the photographs whose patches are coded, and not learnt from."""

TEST = 2000
"""Most patches that are coded."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale; the learner of ``cpu`` is that of ``lightning_configs/patches_dictionary.yaml``."""

    size: int
    """Side of photographs, 0 for the user's images."""
    side: int
    """Side of a patch."""
    latents: int
    rows: int
    """Most patches to learn from."""
    steps: int
    penalty: float = 1.0


SCALES = {
    "smoke": Scale(64, 6, 36, 1000, 30),
    "cpu": Scale(256, 12, 144, 12_000, 60),
    "paper": Scale(0, 12, 288, 100_000, 200),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn the dictionary, and write table, figure and sentences."""
    experiment = begin("patches", __doc__, SCALES, arguments)
    atoms, codes, features = learn(experiment)
    table = pd.concat([measure(name, atoms[name], codes[name], features) for name in atoms], ignore_index=True)
    with style():
        figure = draw(atoms, table)
    experiment.finish(table, figure, *conclude(table))


def learn(experiment: Experiment[Scale]) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Return the atoms of each dictionary by name, its codes of held-out patches, and these patches, standardised."""
    scale = experiment.scale
    inputs: InputData = (
        Photographs(PHOTOGRAPHS, scale.size) if scale.size else ImageFolder(experiment.image_folder(), size=224)
    )
    data = Activations(Patches(scale.side), "patches", inputs, rows=2 * scale.rows, held_out=HELD_OUT)
    how = AlternatingLearner(
        scale.latents, scale.penalty, scale.penalty, False, restarts=1, iterations=20, most_rows=scale.rows
    )
    learnt = experiment.learn("learnt", how, data, scale.steps).dictionary
    rows = data.load(experiment.folder / "learnt", torch.device("cpu"))
    seen, held_out = (_shuffled(part) for part in (rows.training, rows.held_out))
    held_out = held_out[:TEST]
    patches = Dictionary(learnt.standardise(seen[: scale.latents]), learnt.mean, learnt.scale)
    features = learnt.standardise(held_out)
    components = torch.linalg.svd(learnt.standardise(seen), full_matrices=False)[2]
    coder = how.coder()
    codes = {"dictionary": infer(learnt, coder, held_out), "PCA": features @ components.T}
    codes["patches"] = infer(patches, coder, held_out)
    return {"dictionary": learnt.atoms, "PCA": components, "patches": patches.atoms}, codes, features


def _shuffled(rows: np.ndarray) -> Tensor:
    """Return rows, which are in the order of their photographs, in random order."""
    return torch.from_numpy(np.random.default_rng(0).permutation(rows))


def measure(name: str, atoms: Tensor, codes: Tensor, features: Tensor) -> pd.DataFrame:
    """Return the :data:`MEASURES`, one row per atom."""
    return pd.DataFrame(
        {
            "atoms": name,
            "pixels": used_pixels(atoms),
            "orientation": orientation_selectivity(atoms),
            "kurtosis": excess_kurtosis(codes),
            "projected": excess_kurtosis(features @ atoms.T),
        }
    )


def used_pixels(atoms: Tensor) -> Tensor:
    """Return the participation ratio of squared pixels, as a share of the pixels, shape (N,): 1 for a constant."""
    squares = atoms.square()
    share: Tensor = squares.sum(1).square() / squares.square().sum(1) / atoms.shape[1]
    return share


def orientation_selectivity(atoms: Tensor) -> Tensor:
    """Return |Σ P exp(2iθ)| / Σ P over the power spectrum P with directions θ, shape (N,): 1 for a grating."""
    side = round(atoms.shape[1] ** 0.5)
    power = torch.fft.fft2(atoms.view(-1, side, side), s=(4 * side, 4 * side)).abs().square()
    frequency = torch.fft.fftfreq(4 * side)
    double = 2 * torch.atan2(frequency.view(-1, 1), frequency)
    selectivity: Tensor = (power * torch.exp(1j * double)).sum((1, 2)).abs() / power.sum((1, 2))
    return selectivity


def excess_kurtosis(values: Tensor) -> Tensor:
    """Return the excess kurtosis of each column; NaN for a constant one."""
    centred = values - values.mean(0)
    return centred.pow(4).mean(0) / centred.square().mean(0).square() - 3


def draw(atoms: dict[str, Tensor], table: pd.DataFrame) -> Figure:
    """Draw the first 64 atoms of each dictionary, and the measures with one dot per atom."""
    figure = Figure(figsize=(15, 8), layout="constrained")
    grid = figure.subplots(2, 12, gridspec_kw={"height_ratios": (1.6, 1)})
    for axes in grid.flat:
        axes.remove()
    spec = grid[0, 0].get_gridspec()
    for place, (name, own) in enumerate(atoms.items()):
        axes = figure.add_subplot(spec[0, 4 * place : 4 * place + 4])
        axes.imshow(_sheet(own[:64]).numpy(), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
        axes.set(title=name)
        axes.set_axis_off()
    for place, (column, label) in enumerate(MEASURES.items()):
        axes = figure.add_subplot(spec[1, 3 * place : 3 * place + 3])
        for where, (_, group) in enumerate(table.groupby("atoms", sort=False)):
            dots(axes, where, group[column], COLORS[where])
        axes.set(ylabel=label, yscale="symlog" if "kurtosis" in label else "linear")
        name_columns(axes, list(atoms))
    return figure


def _sheet(atoms: Tensor) -> Tensor:
    """Return atoms as one picture, eight per row, each scaled to its largest pixel."""
    side = round(atoms.shape[1] ** 0.5)
    sheet = atoms.new_full((8 * (side + 1), 8 * (side + 1)), torch.nan)
    for place, atom in enumerate(atoms / atoms.abs().amax(1, keepdim=True)):
        top, left = ((side + 1) * each for each in divmod(place, 8))
        sheet[top : top + side, left : left + side] = atom.view(side, side)
    return sheet


def conclude(table: pd.DataFrame) -> tuple[str, str]:
    """State the result in two sentences."""
    found = {str(name): own for name, own in table.groupby("atoms", sort=False)}
    said = {column: {name: bootstrap_interval(own[column]) for name, own in found.items()} for column in MEASURES}
    texts = {column: ", ".join(f"{name} {value}" for name, value in values.items()) for column, values in said.items()}
    ours = {column: values["dictionary"] for column, values in said.items()}
    others = {column: [v for name, v in values.items() if name != "dictionary"] for column, values in said.items()}
    local = all(ours["pixels"].high < other.low for other in others["pixels"])
    oriented = all(ours["orientation"].low > other.high for other in others["orientation"])
    sparse = {name: all(ours[name].low > other.high for other in others[name]) for name in ("kurtosis", "projected")}
    return (
        f"That atoms are localised and oriented {stands([local, oriented])}: share of pixels in use {texts['pixels']}; "
        f"orientation selectivity {texts['orientation']} (means over atoms).",
        f"That their codes are sparser {stands(sparse.values())}: excess kurtosis of codes {texts['kurtosis']}; of "
        f"projections on the atoms {texts['projected']}.",
    )


if __name__ == "__main__":
    main()
