"""The paper's toy model: how far can the activity of bell-shaped tuning neurons move before its input is lost?

    python -m experiments.toy_neurons --scale cpu

X is the circle [0, 1); a feature is the activity of N neurons with Gaussian tuning and evenly spaced centres. The
readout is the input with the nearest feature, found exactly on a fine grid. Measured sizes are compared with a theory
that has no fitted parameters (:mod:`experiments.shared.toy_theory`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS
from experiments.shared.harness import begin, style
from experiments.shared.statistics import rank_correlation
from experiments.shared.toy_theory import Population, Values, distance, predicted_size, recovered_share
from readout.analysis.statistics import bootstrap_interval, by_sample

AXES = {"neurons": "number of neurons", "width": "tuning width", "noise": "noise of the neurons, σ / std(h)"}


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    inputs: int
    draws: int
    """Directions of noise per input."""
    grid: int
    """Number of inputs among which the readout chooses."""
    neurons: tuple[int, ...]
    widths: tuple[float, ...]
    noises: tuple[float, ...]
    levels: int = 100


LEVELS_TOP = 0.995
SCALES = {
    "smoke": Scale(4, 20, 250, (25, 100), (0.05, 0.1), (0.0, 2.0)),
    "cpu": Scale(24, 200, 2000, (10, 20, 50, 100, 200, 500, 1000), (0.01, 0.02, 0.05, 0.1, 0.2), (0, 1, 2, 4, 8)),
    "paper": Scale(64, 1000, 10000, (10, 20, 50, 100, 200, 500, 1000), (0.01, 0.02, 0.05, 0.1, 0.2), (0, 1, 2, 4, 8)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure sizes and curves, and compare them with theory."""
    experiment = begin("toy_neurons", __doc__, SCALES, arguments)
    scale, paper = experiment.scale, Population()
    varied = {
        "neurons": [replace(paper, neurons=value) for value in scale.neurons],
        "width": [replace(paper, width=value) for value in scale.widths],
        "noise": [replace(paper, noise=float(value)) for value in scale.noises],
    }
    sizes = pd.concat(
        [measure(population, scale).assign(varied=name) for name, group in varied.items() for population in group],
        ignore_index=True,
    )
    curve = recovery(paper, scale)
    experiment.store.write_text("curve.csv", curve.to_csv(index=False))
    with style():
        figure = draw(paper, sizes, curve, scale)
    experiment.finish(sizes, figure, *conclude(paper, sizes))


def levels(scale: Scale) -> Values:
    """Return perturbation levels, denser near 1."""
    return np.asarray(LEVELS_TOP * np.sin(np.linspace(0, np.pi / 2, scale.levels)))


def measure(population: Population, scale: Scale) -> pd.DataFrame:
    """Return sizes, one row per input: the mean over draws of the level up to which all levels were recovered."""
    recovered = _errors(population, scale) < population.threshold
    last = np.cumprod(recovered, axis=-1).sum(axis=-1) - 1
    reached = np.where(last < 0, 0.0, levels(scale)[last])
    # the median over draws: half of all directions allow at least this level
    size = np.median(reached, axis=1)
    settings = {"neurons": population.neurons, "width": population.width, "noise": population.noise}
    return pd.DataFrame({**settings, "sample": range(scale.inputs), "size": size, "theory": predicted_size(population)})


def recovery(population: Population, scale: Scale) -> pd.DataFrame:
    """Return the share of recovered draws with theory, one row per (input, level)."""
    recovered = (_errors(population, scale) < population.threshold).mean(axis=1)
    rows = [
        {"sample": sample, "level": level, "share": share}
        for sample, shares in enumerate(recovered)
        for level, share in zip(levels(scale), shares, strict=True)
    ]
    table = pd.DataFrame(rows)
    theory = {level: recovered_share(population, level) for level in levels(scale)}
    return table.assign(theory=table["level"].map(theory))


def _errors(population: Population, scale: Scale) -> Values:
    """Return |x̂ − x| on the circle, shape (inputs, draws, levels), with one noise direction for all levels."""
    rng = np.random.default_rng(0)
    grid = np.arange(scale.grid) / scale.grid
    manifold = population.tuning(grid)
    energy = 0.5 * (manifold**2).sum(axis=1)
    errors = np.empty((scale.inputs, scale.draws, scale.levels))
    for sample, x in enumerate(rng.uniform(size=scale.inputs)):
        clean = population.tuning(np.array([x]))[0]
        own = population.noise * clean.std() * rng.standard_normal((scale.draws, population.neurons))
        start = clean + own
        moved = rng.standard_normal((scale.draws, population.neurons)) * start.std(axis=1, keepdims=True)
        # the nearest feature has the largest projection minus half its energy, and projections are linear
        still, along = start @ manifold.T - energy, moved @ manifold.T
        for place, level in enumerate(levels(scale)):
            nearest = (still + np.sqrt((1 - level) ** -2 - 1) * along).argmax(axis=1)
            errors[sample, :, place] = distance(grid[nearest], x)
    return errors


def draw(paper: Population, sizes: pd.DataFrame, curve: pd.DataFrame, scale: Scale) -> Figure:
    """Plot the manifold with readouts around it, the recovery curve, and sizes against three parameters."""
    figure = Figure(figsize=(16, 3.9), layout="constrained")
    plane, shares, *panels = figure.subplots(1, 5, width_ratios=(1.25, 1, 1, 1, 1))
    _draw_plane(plane, paper, scale)
    for _, group in curve.groupby("sample"):
        shares.plot(group["level"], group["share"], color=COLORS[0], lw=0.5, alpha=0.3)
    mean = by_sample(curve, ["share", "theory"], by=["level"])
    shares.plot(mean["level"], mean["share"], color=COLORS[0], lw=2, label="measured, mean")
    shares.plot(mean["level"], mean["theory"], color=COLORS[5], ls="--", label="theory")
    shares.set(
        xlabel="level c of the perturbation",
        ylabel=f"share read back within {paper.threshold:g}",
        title=f"{paper.neurons} neurons, width {paper.width:g}",
    )
    shares.legend(frameon=False, fontsize=8)
    for axes, (name, label) in zip(panels, AXES.items(), strict=True):
        group = sizes[sizes["varied"] == name]
        axes.scatter(group[name], group["size"], s=9, color=COLORS[0], alpha=0.35, lw=0, label="an input")
        mean = by_sample(group, ["size", "theory"], by=[name])
        axes.plot(mean[name], mean["size"], "o-", ms=4, color=COLORS[0], label="mean")
        axes.plot(mean[name], mean["theory"], "s--", ms=4, mfc="none", color=COLORS[5], label="theory")
        axes.set(xlabel=label, ylabel="representation size", ylim=(-0.02, 1.02))
        if name != "noise":
            axes.set_xscale("log")
        axes.legend(frameon=False, fontsize=8)
    return figure


def _draw_plane(axes: Axes, paper: Population, scale: Scale) -> None:
    """Draw the plane of the first two principal components, coloured by the readout of each point."""
    grid = np.arange(scale.grid) / scale.grid
    manifold = paper.tuning(grid)
    centre = manifold.mean(axis=0)
    plane = np.linalg.svd(manifold - centre, full_matrices=False)[2][:2]
    ring = (manifold - centre) @ plane.T
    edge = 1.9 * float(np.abs(ring).max())
    side = np.linspace(-edge, edge, 161)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2) @ plane + centre
    read = grid[(points @ manifold.T - 0.5 * (manifold**2).sum(axis=1)).argmax(axis=1)].reshape(161, 161)
    image = axes.imshow(read, extent=(-edge, edge, -edge, edge), origin="lower", cmap="twilight", vmin=0, vmax=1)
    inside = (distance(read, 0.25) < paper.threshold).astype(float)
    axes.contour(side, side, inside, levels=[0.5], colors="black", linewidths=1.5)
    axes.plot(*np.vstack([ring, ring[:1]]).T, color="white", lw=2.5)
    here = (paper.tuning(np.array([0.25]))[0] - centre) @ plane.T
    axes.plot(*here, "*", ms=12, color="white", mec="black")
    rng = np.random.default_rng(1)
    for start in rng.uniform(size=14):
        off = rng.normal(scale=0.45 * edge / 1.9, size=2) + (paper.tuning(np.array([start]))[0] - centre) @ plane.T
        nearest = ring[((off @ plane + centre) @ manifold.T - 0.5 * (manifold**2).sum(axis=1)).argmax()]
        axes.annotate("", nearest, off, arrowprops={"arrowstyle": "->", "color": "white", "lw": 0.8})
        axes.plot(*off, "o", ms=3.5, color="black", mec="white", mew=0.6)
    axes.set(xlabel="PC 1", ylabel="PC 2", title="what is read back; framed: x = 0.25", xlim=(-edge, edge))
    axes.grid(visible=False)
    axes.figure.colorbar(image, ax=axes, label="input read back", shrink=0.85)


def conclude(paper: Population, sizes: pd.DataFrame) -> tuple[str, str]:
    """State the result in two sentences."""
    own = sizes[(sizes["varied"] == "neurons") & (sizes["neurons"] == paper.neurons)]
    size = bootstrap_interval(own["size"])
    trends = [_trend(sizes[sizes["varied"] == name], name) for name in AXES]
    means = by_sample(sizes, ["size", "theory"], by=["varied", *AXES])
    error = (means["size"] - means["theory"]).abs()
    worst = means.iloc[int(error.to_numpy().argmax())]
    return (
        f"With {paper.neurons} neurons of width {paper.width:g} and a threshold of {paper.threshold:g} the "
        f"representation size is {size} over {size.count} inputs; it {', '.join(trends)}.",
        f"Theory without a fitted number misses the mean size by {error.mean():.3f} on average over {len(means)} "
        f"populations, and by {error.max():.3f} at worst, with {worst['neurons']:g} neurons of width "
        f"{worst['width']:g} and noise {worst['noise']:g}.",
    )


def _trend(sizes: pd.DataFrame, name: str) -> str:
    """Describe how size depends on one parameter."""
    means = sizes.groupby(name)["size"].mean()
    steps, label = means.diff().dropna(), AXES[name].split(",")[0]
    rho = rank_correlation(sizes[name], sizes["size"], clusters=sizes["sample"].tolist()).rho
    if (steps >= 0).all() or (steps <= 0).all():
        return f"{'rises' if means.iloc[-1] > means.iloc[0] else 'falls'} with the {label} (ρ = {rho.value:.2f})"
    return f"is largest at a {label} of {means.idxmax():g} among {', '.join(f'{value:g}' for value in means.index)}"


if __name__ == "__main__":
    main()
