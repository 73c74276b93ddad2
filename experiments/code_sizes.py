"""How far can a feature in superposition move before the support of its code is lost, by coder?

    python -m experiments.code_sizes --scale cpu

The size is the level at which half of the codes keep their support: K of N latents, equal and non-negative, in M
dimensions. Atoms are orthonormal for N = M and random for more. The ceiling is the size without interference
(:func:`ceiling`). FISTA's sizes by penalty are of the overcompleteness at which it is chosen. Run again to resume.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.dictionaries import size_of_codes
from experiments.shared.drawing import COLORS, MARKERS, dots, plain_log
from experiments.shared.harness import Experiment, begin, style
from readout.analysis.statistics import bootstrap_interval, paired_difference
from readout.code_theory import support_size
from readout.codes import (
    FISTA,
    ISTA,
    Coder,
    GaussianDictionary,
    OnePass,
    OrthogonalMatchingPursuit,
    OrthonormalDictionary,
    SparseCodes,
)
from readout.representation import noise_ratio

CODERS = ("one pass", "ISTA, 8 iterations", "FISTA", "OMP")


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    dimension: int
    ratios: tuple[int, ...]
    """Overcompleteness N/M."""
    active: int
    codes: int
    dictionaries: int
    """Dictionaries per N, over which sizes have their intervals."""
    levels: tuple[float, ...]
    penalties: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 0.5)
    penalty: float = 0.3
    """Penalty of ISTA and FISTA, where latents are 1."""
    varied: int = 4
    """Overcompleteness at which FISTA's penalty is varied."""


LEVELS = tuple(round(0.02 * step, 2) for step in range(25))
SCALES = {
    "smoke": Scale(64, (1, 4), 4, 60, 2, LEVELS[::4], (0.03,)),
    "cpu": Scale(64, (1, 2, 4, 8), 4, 200, 6, LEVELS),
    "paper": Scale(256, (1, 2, 4, 8, 16, 32, 64), 8, 1000, 10, tuple(round(0.02 * step, 2) for step in range(40))),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure sizes by coder and overcompleteness, and FISTA's by penalty."""
    experiment = begin("code_sizes", __doc__, SCALES, arguments)
    scale = experiment.scale
    cases = [(ratio, name, scale.penalty) for ratio in scale.ratios for name in CODERS]
    cases += [(scale.varied, "FISTA", penalty) for penalty in scale.penalties if penalty != scale.penalty]
    rows = [
        {"ratio": ratio, "coder": name, "penalty": penalty, "dictionary": seed}
        | measure(experiment, ratio, name, penalty, seed)
        for ratio, name, penalty in cases
        for seed in range(scale.dictionaries)
    ]
    sizes = pd.DataFrame(rows)
    sizes["ceiling"] = [ceiling(scale.active, ratio * scale.dimension, scale.dimension) for ratio in sizes["ratio"]]
    with style():
        figure = draw(sizes, scale)
    experiment.finish(sizes, figure, *conclude(sizes, scale))


def measure(experiment: Experiment[Scale], ratio: int, name: str, penalty: float, seed: int) -> dict[str, float]:
    """Return the size by one coder with one dictionary, and the share of supports kept at level 0."""
    scale = experiment.scale
    atoms, dimension = ratio * scale.dimension, scale.dimension
    dictionary = OrthonormalDictionary(dimension, seed) if ratio == 1 else GaussianDictionary(atoms, dimension, seed)
    coder, steps = make(name, penalty, scale.active)
    folder = f"{name.replace(', ', '-').replace(' ', '-')}_{penalty:g}/atoms={atoms}_dictionary={seed}"
    codes = SparseCodes(scale.codes, scale.active, "equal", seed=seed)
    size, kept = size_of_codes(experiment, folder, dictionary, coder, steps, codes, scale.levels, seed)
    return {"size": size, "kept": kept}


def make(name: str, penalty: float, active: int) -> tuple[Coder, int]:
    """Return a coder and its number of iterations."""
    return {
        "one pass": (OnePass(active), 1),
        "ISTA, 8 iterations": (ISTA(penalty, active), 8),
        "FISTA": (FISTA(penalty, active), 100),
        "OMP": (OrthogonalMatchingPursuit(active), active),
    }[name]


def ceiling(active: int, atoms: int, dimension: int) -> float:
    """Return the size of a support if atoms didn't interfere: :func:`readout.code_theory.support_size` for N > M.

    The noise in each latent depends on M, their number only on N: N orthonormal atoms in N dimensions stand the same
    noise, which is N/M times the n(c) of M dimensions.
    """
    noise = noise_ratio(support_size(active, atoms, atoms)) * dimension / atoms
    return float(1 - 1 / np.sqrt(1 + noise))


def draw(sizes: pd.DataFrame, scale: Scale) -> Figure:
    """Plot sizes by overcompleteness with their ceiling, and FISTA's by penalty; one dot per dictionary."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    by_ratio, by_penalty = figure.subplots(1, 2, sharey=True, width_ratios=(1.4, 1))
    chosen = sizes[sizes["penalty"] == scale.penalty]
    for name, color, marker in zip(CODERS, COLORS, MARKERS, strict=False):
        for ratio, group in chosen[chosen["coder"] == name].groupby("ratio"):
            dots(by_ratio, float(str(ratio)), group["size"], color, width=0)
        means = chosen[chosen["coder"] == name].groupby("ratio")["size"].mean()
        by_ratio.plot(means.index, means, f"{marker}-", color=color, label=name)
    tops = chosen.groupby("ratio")["ceiling"].first()
    by_ratio.plot(tops.index, tops, "--", color="black", label="ceiling: no interference")
    varied = sizes[(sizes["coder"] == "FISTA") & (sizes["ratio"] == scale.varied)]
    means = varied.groupby("penalty")["size"].mean()
    by_penalty.plot(varied["penalty"], varied["size"], ".", color=COLORS[2], alpha=0.5)
    by_penalty.plot(means.index, means, "-", color=COLORS[2])
    by_penalty.axhline(tops[scale.varied], color="black", ls="--")
    by_ratio.set(xlabel="overcompleteness N/M", ylabel="size of a code", ylim=(0, None))
    by_ratio.set_title(f"M = {scale.dimension}, K = {scale.active}")
    by_penalty.set(xlabel="penalty λ of FISTA (latents are 1)", title=f"N/M = {scale.varied}")
    for axes, ticks in ((by_ratio, scale.ratios), (by_penalty, means.index)):
        plain_log(axes)
        axes.set_xticks(ticks)
    by_ratio.legend(frameon=False, fontsize=8)
    return figure


def conclude(sizes: pd.DataFrame, scale: Scale) -> tuple[str, str, str]:
    """State the result in three sentences."""
    chosen = sizes[sizes["penalty"] == scale.penalty]
    parts, ordered = [], []
    for ratio, group in chosen.groupby("ratio"):
        by_coder = {name: group.loc[group["coder"] == name, "size"].to_numpy() for name in CODERS}
        intervals = {name: bootstrap_interval(values) for name, values in by_coder.items()}
        said = [f"{name} {each.value:.3f} ({each.low:.3f} to {each.high:.3f})" for name, each in intervals.items()]
        parts.append(f"{'; '.join(said)}; ceiling {group['ceiling'].iloc[0]:.3f} at N/M = {ratio}")
        if ratio != 1:
            gap = paired_difference(by_coder["OMP"], by_coder["FISTA"]).mean
            least = min(intervals["FISTA"].value, intervals["OMP"].value)
            below = max(intervals["FISTA"].value, intervals["OMP"].value) < group["ceiling"].iloc[0]
            holds = intervals["one pass"].value < intervals["ISTA, 8 iterations"].value < least and below
            ordered.append(
                f"{'holds' if holds else 'does not hold'} at N/M = {ratio} (OMP minus FISTA {gap.value:+.3f}, "
                f"{gap.low:+.3f} to {gap.high:+.3f})"
            )
    varied = sizes[(sizes["coder"] == "FISTA") & (sizes["ratio"] == scale.varied)].groupby("penalty")["size"].mean()
    return (
        f"Sizes over {scale.dictionaries} dictionaries of {scale.codes} codes each are: {' | '.join(parts)}.",
        f"The order one pass < 8 iterations < FISTA and OMP < ceiling {', '.join(ordered)}.",
        f"At N/M = {scale.varied} FISTA's size goes from {varied.min():.3f} to {varied.max():.3f} with its penalty and "
        f"is largest at {varied.idxmax():g}.",
    )


if __name__ == "__main__":
    main()
