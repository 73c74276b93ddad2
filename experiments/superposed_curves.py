"""How far is a code read wrongly from a moved feature in superposition: d_S(c) of four readouts against closed forms.

    python -m experiments.superposed_curves --scale cpu

d_S is 1 minus the correlation between true and inferred latents, pooled over codes. One pass, the minimum of the ℓ1
objective and least squares on the true support have formulas in :mod:`readout.code_theory`, for codes that are
non-negative and for signed ones; that of least squares over all latents is :func:`least_squares_distance`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from experiments.shared.dictionaries import drawn
from experiments.shared.dictionaries import infer as infer_codes
from experiments.shared.drawing import COLORS, MARKERS
from experiments.shared.harness import begin, style
from readout.code_theory import lasso_distance, linear_code_bound, one_pass_distance, oracle_distance
from readout.codes import FISTA, GaussianDictionary, OnePass, SparseCodes, Superposition
from readout.perturbations import GaussianPerturbation
from readout.representation import noise_ratio

LEVELS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
TOLERANCES = {"one pass": 0.003, "least squares": 0.01, "LASSO": 0.02, "oracle": 0.01, "oracle, M − K": 0.01}
"""Readout → distance in d_S within which a curve agrees with its formula."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale; M = N / 2 and K = N / 20."""

    atoms: int
    codes: int
    levels: tuple[float, ...] = LEVELS
    iterations: int = 150
    penalty: float = 0.1


SCALES = {"smoke": Scale(200, 400, (0.1, 0.4)), "cpu": Scale(1000, 400), "paper": Scale(4000, 1000)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the curves and compare them with the formulas."""
    experiment = begin("superposed_curves", __doc__, SCALES, arguments)
    scale = experiment.scale
    curves = pd.concat([measure(scale, nonnegative) for nonnegative in (True, False)], ignore_index=True)
    with style():
        figure = draw(curves, scale)
    experiment.finish(curves, figure, *conclude(curves))


def measure(scale: Scale, nonnegative: bool) -> pd.DataFrame:
    """Return d_S and its formula, one row per readout and level."""
    atoms, dimension, active, levels = scale.atoms, scale.atoms // 2, scale.atoms // 20, scale.levels
    network = Superposition(GaussianDictionary(atoms, dimension))
    data = SparseCodes(scale.codes, active, nonnegative=nonnegative)
    true = drawn(data, network)
    clean = network.extract(true, "superposition")
    # E s² / Var s, where E s² = K/N and E s of half-normal latents √(2/π) of that
    energy = 1 / (1 - active / atoms * 2 / np.pi) if nonnegative else 1.0
    formulas = {
        "one pass": one_pass_distance(levels, atoms, dimension, energy),
        "least squares": least_squares_distance(levels, atoms, dimension, energy),
        "LASSO": lasso_distance(levels, scale.penalty, active, atoms, dimension, nonnegative),
        "oracle": oracle_distance(levels, active, dimension, energy),
        # K random atoms are not orthogonal: the noise in their codes is M / (M − K) times as strong
        "oracle, M − K": oracle_distance(levels, active, dimension - active, energy),
    }
    rows = []
    for place, level in enumerate(levels):
        feature = GaussianPerturbation()(clean, torch.full((scale.codes,), level), seeds=range(scale.codes))
        for name, found in infer(network, scale, feature, true, nonnegative).items():
            measured = 1 - float(np.corrcoef(found.flatten(), true.flatten())[0, 1])
            rows.append({"readout": name, "level": level, "measured": measured, "formula": formulas[name][place]})
    return pd.DataFrame(rows).assign(nonnegative=nonnegative)


def infer(network: Superposition, scale: Scale, feature: Tensor, true: Tensor, nonnegative: bool) -> dict[str, Tensor]:
    """Return the codes by each readout."""
    matched, lasso = OnePass(nonnegative=False), FISTA(scale.penalty, nonnegative=nonnegative)
    atoms, mean = network.dictionary.atoms, true.mean()
    one_pass = infer_codes(network.dictionary, matched, feature, 1)
    oracle = matched.refit(true.abs().topk(scale.atoms // 20).indices)
    return {
        "one pass": one_pass,
        # of codes minus their mean, which it would shrink
        "least squares": (feature - mean * atoms.sum(0)) @ torch.linalg.pinv(atoms),
        "LASSO": infer_codes(network.dictionary, lasso, feature, scale.iterations),
        "oracle": oracle,
        "oracle, M − K": oracle,
    }


def least_squares_distance(
    level: ArrayLike, atoms: int, dimension: int, energy_ratio: float = 1.0
) -> NDArray[np.float64]:
    """Return d_S in closed form for the code of least norm with D s = h', with random atoms.

    d_S(c) = 1 − √(γ / (1 + κ n(c) / (1 − γ))) with γ = M/N < 1: it projects codes on M dimensions, and amplifies
    noise by the mean inverse eigenvalue of D Dᵀ (Marchenko and Pastur). At level 0 it reaches the bound of linear
    readouts, :func:`readout.code_theory.linear_code_bound`.
    """
    gamma = dimension / atoms
    return np.asarray(1 - np.sqrt(gamma / (1 + energy_ratio * noise_ratio(level) / (1 - gamma))))


def draw(curves: pd.DataFrame, scale: Scale) -> Figure:
    """Plot d_S over the level, measured and by formula, for non-negative and for signed codes."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, nonnegative in zip(figure.subplots(1, 2, sharey=True), (True, False), strict=True):
        for name, color, marker in zip(TOLERANCES, COLORS, MARKERS, strict=False):
            curve = curves[(curves["readout"] == name) & (curves["nonnegative"] == nonnegative)]
            axes.plot(curve["level"], curve["formula"], "-", color=color, lw=1)
            axes.plot(curve["level"], curve["measured"], marker, color=color, ms=5, label=name)
        bound = linear_code_bound(scale.atoms, scale.atoms // 2)
        axes.axhline(bound, color="black", ls=":", label="linear bound, c = 0")
        axes.set(xlabel="level c of the perturbation", title="non-negative codes" if nonnegative else "signed codes")
    figure.axes[0].set_ylabel("$d_S$ = 1 − correlation over latents")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, title="marks measured,\nlines by formula")
    return figure


def conclude(curves: pd.DataFrame) -> tuple[str, str]:
    """State the result in two sentences."""
    parts = []
    for (name, nonnegative), curve in curves.groupby(["readout", "nonnegative"], sort=False):
        error = curve["measured"] - curve["formula"]
        worst = int(error.abs().to_numpy().argmax())
        verdict = "holds" if abs(error.iloc[worst]) <= TOLERANCES[str(name)] else "does not hold"
        parts.append(
            f"{name} of {'non-negative' if nonnegative else 'signed'} codes {verdict} within {TOLERANCES[str(name)]:g} "
            f"({error.iloc[worst]:+.3f} at worst, at c = {curve['level'].iloc[worst]:g})"
        )
    wins = curves.pivot(index=["nonnegative", "level"], columns="readout", values="measured").reset_index()
    worse = [
        f"{name} {f'from c = {lost.min():g}' if len(lost) else 'at no level measured'}"
        for name in ("least squares", "LASSO")
        for lost in [wins.loc[wins[name] > wins["one pass"], "level"]]
    ]
    return (
        f"Measured curves against formulas without a fitted number: {'; '.join(parts)}.",
        f"Worse than one pass, for codes of one sign or both: {', '.join(worse)}.",
    )


if __name__ == "__main__":
    main()
