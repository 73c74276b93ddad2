"""Figure and sentences of :mod:`experiments.toy_superposition`."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from experiments.shared.claims import stands
from experiments.shared.drawing import COLORS, plain_log

PHASES = ("dropped", "own dimension", "superposed")
PCA, PAIRS, PENTAGON = DENSITIES = (1.0, 0.3, 0.05)
"""Densities with the geometry that five features in two dimensions should take."""
DIMENSIONALITY, GAP = {PAIRS: 0.5, PENTAGON: 0.4}, {PAIRS: 90, PENTAGON: 72}


def draw(features: pd.DataFrame, cells: pd.DataFrame) -> Figure:
    """Plot the atoms of one model per density, the dimensionality of all features, and the phase diagram."""
    figure = Figure(figsize=(17, 3.6), layout="constrained")
    *planes, shares, diagram = figure.subplots(1, 5, width_ratios=(1, 1, 1, 1, 1.6))
    for axes, (density, group) in zip(planes, features.groupby("density", sort=False), strict=True):
        for _, atom in group[group["seed"] == 0].iterrows():
            axes.annotate("", (atom["x"], atom["y"]), (0, 0), arrowprops={"arrowstyle": "->", "color": COLORS[0]})
        axes.set(title=f"five features, density {density:g}", xlim=(-1.5, 1.5), ylim=(-1.5, 1.5), aspect="equal")
    place = features["density"].map(DENSITIES.index) + 0.08 * (features["feature"] - 2)
    shares.scatter(place, features["dimensionality"], s=12, color=COLORS[0], alpha=0.5, lw=0)
    for value in DIMENSIONALITY.values():
        shares.axhline(value, color="grey", lw=1, ls=":")
    shares.set(xlabel="density", title="feature dimensionality, all seeds", ylim=(-0.03, 1.03))
    shares.set_xticks(range(3), [f"{density:g}" for density in DENSITIES])
    _draw_phases(diagram, cells)
    return figure


def _draw_phases(axes: Axes, cells: pd.DataFrame) -> None:
    """Colour the phase of each cell, and mark the cells for which closed-form losses expect another."""
    grid = cells.assign(at=cells["phase"].map(PHASES.index)).pivot(index="importance", columns="density", values="at")
    colors = ListedColormap(["#DDDDDD", COLORS[4], COLORS[1]])
    mesh = axes.pcolormesh(grid.columns, grid.index, grid, cmap=colors, vmin=-0.5, vmax=2.5, shading="nearest")
    other = cells[cells["phase"] != cells["expected"]]
    axes.plot(other["density"], other["importance"], "x", color="black", ms=5, label="closed form expects another")
    plain_log(axes)
    axes.set(
        yscale="log", xlabel="density", ylabel="importance of the second feature", title="two features in one dimension"
    )
    axes.legend(fontsize=8, loc="upper left")
    axes.grid(visible=False)
    axes.figure.colorbar(mesh, ax=axes, ticks=range(3)).ax.set_yticklabels(PHASES)


def conclude(features: pd.DataFrame, cells: pd.DataFrame) -> tuple[str, ...]:
    """State which geometries were found, and how many phases are those of the closed form."""
    energy = features.assign(energy=features["norm"] ** 2).groupby(["density", "seed"])["energy"].sum()[PCA]
    agree = cells["phase"] == cells["expected"]
    return (
        f"PCA at density {PCA:g} {stands(abs(energy - 2) < 0.02)}: ‖W‖² {energy.min():.3f} to {energy.max():.3f} over "
        f"{len(energy)} seeds.",
        _geometry(features, PAIRS, kept=4, name="antipodal pairs"),
        _geometry(features, PENTAGON, kept=5, name="the regular pentagon"),
        f"The phases of the closed form {stands([agree.mean() > 0.95])}: {agree.sum()} of {len(agree)} cells agree, of "
        f"which {(cells['phase'] == 'superposed').sum()} are superposed in training and "
        f"{(cells['expected'] == 'superposed').sum()} by the closed form.",
    )


def _geometry(features: pd.DataFrame, density: float, kept: int, name: str) -> str:
    """State whether every seed has the number of atoms, the dimensionality and the angles of a geometry."""
    found = features[features["density"] == density].dropna(subset="gap")
    near = (found["dimensionality"] - DIMENSIONALITY[density]).abs() < 0.005
    near &= (found["gap"] - GAP[density]).abs() < 1
    checks = [len(own) == kept and bool(near[own.index].all()) for _, own in found.groupby("seed")]
    return (
        f"At density {density:g} {name} {stands(checks)} in {sum(checks)} of {len(checks)} seeds: dimensionality "
        f"{found['dimensionality'].min():.3f} to {found['dimensionality'].max():.3f}, angles "
        f"{found['gap'].min():.1f}° to {found['gap'].max():.1f}°."
    )
