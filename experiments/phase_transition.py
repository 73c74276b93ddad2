"""Up to how many active latents are codes recovered at level 0, by coder?

    python -m experiments.phase_transition --scale cpu

The share of codes recovered over δ = M/N and ρ = K/M, with random atoms and latents of equal magnitude: there is no
noise, so superposition alone is in the way. With large dictionaries ℓ1 minimisation recovers half of the codes on the
curve of Donoho and Tanner (:func:`readout.code_theory.donoho_tanner`). Codes of a relative error below 1 % are
recovered.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Size, Tensor

from experiments.shared.curves import crossing
from experiments.shared.dictionaries import drawn
from experiments.shared.dictionaries import infer as infer_codes
from experiments.shared.drawing import COLORS
from experiments.shared.harness import begin, style
from readout.code_theory import donoho_tanner
from readout.codes import (
    FISTA,
    Coder,
    GaussianDictionary,
    OnePass,
    OrthogonalMatchingPursuit,
    SparseCodes,
    Superposition,
)

LARGEST_ERROR = 0.01
CLOSE = 0.03
"""Distance in ρ within which a line agrees with theory."""


class BasisPursuit(FISTA):
    """ℓ1 minimisation: FISTA whose penalty falls in stages, each from the codes of the one before.

    Args:
        each: Iterations per stage.
        nonnegative: See :class:`FISTA`.
    """

    penalties = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)

    def __init__(self, each: int, nonnegative: bool = True) -> None:
        super().__init__(self.penalties[0], nonnegative=nonnegative)
        self.each = each

    def initialise(self, seeds: Sequence[int], input_shape: Size) -> None:
        """See :class:`FISTA`."""
        super().initialise(seeds, input_shape)
        self.taken = 0

    def steps(self, most: int) -> int:
        """Return the iterations of all stages."""
        return len(self.penalties) * self.each

    def iterate(self) -> None:
        """See :class:`FISTA`."""
        self.penalty_weight = self.penalties[self.taken // self.each]
        self.taken += 1
        super().iterate()


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    atoms: int
    grid: int
    """Number of δ, and of ρ."""
    codes: int
    """Codes per point."""
    iterations: int
    """Iterations per stage of ℓ1 minimisation."""

    @property
    def places(self) -> list[float]:
        """The values of δ, and of ρ."""
        return [place / (self.grid + 1) for place in range(1, self.grid + 1)]


SCALES = {"smoke": Scale(40, 5, 20, 100), "cpu": Scale(200, 12, 40, 2000), "paper": Scale(1000, 30, 100, 5000)}

L1 = "ℓ1 minimisation"
CODERS: Mapping[str, Callable[[int, bool], Coder]] = {
    L1: BasisPursuit,
    "OMP": OrthogonalMatchingPursuit,
    "one pass": lambda active, nonnegative: OnePass(active, nonnegative=nonnegative),
}
"""Name → coder from K, or from the iterations per stage if it is not told K."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure shares over the plane, and compare the lines of one half with theory."""
    experiment = begin("phase_transition", __doc__, SCALES, arguments)
    scale = experiment.scale
    cases = [(name, nonnegative) for nonnegative in (True, False) for name in CODERS]
    shares = pd.concat([measure(scale, *case, delta) for case in cases for delta in scale.places], ignore_index=True)
    lines = find_lines(shares)
    experiment.store.write_text("lines.csv", lines.to_csv(index=False))
    with style():
        figure = draw(shares, lines)
    experiment.finish(shares, figure, *conclude(lines, scale))


def measure(scale: Scale, name: str, nonnegative: bool, delta: float) -> pd.DataFrame:
    """Return the shares of codes recovered with one dictionary, one row per ρ."""
    dimension = round(delta * scale.atoms)
    network = Superposition(GaussianDictionary(scale.atoms, dimension, seed=dimension))
    actives = [max(1, round(rho * dimension)) for rho in scale.places]
    batches = [draw_codes(network, scale.codes, active, nonnegative) for active in actives]
    true, make = torch.cat(batches), CODERS[name]
    if name == L1:
        found = infer(network, make(scale.iterations, nonnegative), true)
    else:
        coders = [make(active, nonnegative) for active in actives]
        found = torch.cat([infer(network, coder, batch) for coder, batch in zip(coders, batches, strict=True)])
    right = (found - true).norm(dim=1) < LARGEST_ERROR * true.norm(dim=1)
    shares = right.view(-1, scale.codes).float().mean(1)
    where = {"coder": name, "nonnegative": nonnegative, "delta": dimension / scale.atoms, "place": scale.places}
    return pd.DataFrame({**where, "rho": [active / dimension for active in actives], "share": shares.tolist()})


def draw_codes(network: Superposition, count: int, active: int, nonnegative: bool) -> Tensor:
    """Return random codes of equal magnitudes, shape (codes, N)."""
    return drawn(SparseCodes(count, active, "equal", nonnegative, seed=active), network)


def infer(network: Superposition, coder: Coder, true: Tensor) -> Tensor:
    """Return the codes that a coder infers from the features of these codes."""
    return infer_codes(network.dictionary, coder, network.extract(true, "superposition"), true.shape[1])


def find_lines(shares: pd.DataFrame) -> pd.DataFrame:
    """Return the ρ at which half of the codes are recovered, and ℓ1's in theory, one row per (coder, sign, δ)."""
    rows = []
    for (name, nonnegative, delta), group in shares.groupby(["coder", "nonnegative", "delta"], sort=False):
        half = crossing(group["rho"].tolist(), (1 - group["share"]).tolist(), 0.5)
        theory = float(donoho_tanner(float(str(delta)), bool(nonnegative)))
        rows.append({"coder": name, "nonnegative": nonnegative, "delta": delta, "rho": half, "theory": theory})
    return pd.DataFrame(rows)


def draw(shares: pd.DataFrame, lines: pd.DataFrame) -> Figure:
    """Draw the shares of each coder over the plane, with the line of one half and the theory of ℓ1."""
    figure = Figure(figsize=(11, 6.8), layout="constrained")
    panels = figure.subplots(2, len(CODERS), sharex=True, sharey=True)
    ratios = np.linspace(0.01, 0.99, 99)
    for row, nonnegative in zip(panels, (True, False), strict=True):
        for axes, name in zip(row, CODERS, strict=True):
            plane, line = (
                table[(table["coder"] == name) & (table["nonnegative"] == nonnegative)] for table in (shares, lines)
            )
            grid = plane.pivot(index="place", columns="delta", values="share")
            image = axes.pcolormesh(grid.columns, grid.index, grid, cmap="viridis", vmin=0, vmax=1)
            line = line[line["rho"] > 0]  # below the fewest latents tested, the line is unknown
            axes.plot(line["delta"], line["rho"], "o-", ms=3, color=COLORS[5], label="half recovered")
            axes.plot(ratios, donoho_tanner(ratios, nonnegative), "--", color="white", label="Donoho–Tanner, ℓ1")
            axes.set(title=f"{name}, {'non-negative' if nonnegative else 'signed'}", xlim=(0, 1), ylim=(0, 1))
            axes.grid(visible=False)
        row[0].set_ylabel("ρ = K/M")
    for axes in panels[-1]:
        axes.set_xlabel("δ = M/N")
    panels[0][0].legend(fontsize=8, loc="upper left", facecolor="0.4", labelcolor="white")
    figure.colorbar(image, ax=panels, label="share of codes recovered", shrink=0.6)
    return figure


def conclude(lines: pd.DataFrame, scale: Scale) -> tuple[str, str]:
    """State the result in two sentences."""
    own, middle = [], []
    for (name, nonnegative), line in lines.groupby(["coder", "nonnegative"], sort=False):
        signs, above = "non-negative" if nonnegative else "signed", line["rho"] - line["theory"]
        half = line.iloc[int((line["delta"] - 0.5).abs().to_numpy().argmin())]
        found = f"{half['rho']:.3f}" if half["rho"] > 0 else f"less than {scale.places[0]:.3f}"
        middle.append(f"{found} by {name} of {signs} codes (ℓ1 in theory {half['theory']:.3f})")
        if name == L1:
            close, worst = int((above.abs() <= CLOSE).sum()), int(above.abs().to_numpy().argmax())
            verdict = "holds" if close == len(line) else "holds in part" if close else "does not hold"
            own.append(
                f"{verdict} for {signs} codes ({close} of {len(line)} δ within {CLOSE:g}, {above.abs().mean():.3f} "
                f"away on average, {above.iloc[worst]:+.3f} at worst, at δ = {line['delta'].iloc[worst]:.2f})"
            )
    return (
        f"ℓ1 minimisation recovers half of the codes on Donoho and Tanner's curve: this {' and '.join(own)}.",
        f"At δ = {half['delta']:.2f} half of the codes are recovered up to ρ = {'; '.join(middle)}.",
    )


if __name__ == "__main__":
    main()
