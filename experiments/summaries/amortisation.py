"""Figure and sentences of :mod:`experiments.amortisation`."""

import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS

PUBLISHED = {
    ("codes known", "ReLU encoder"): 0.862,
    ("codes known", "perceptron"): 0.900,
    ("dictionary known", "ReLU encoder"): 0.609,
    ("dictionary known", "perceptron"): 0.818,
    ("dictionary known", "ReLU encoder + 10 of FISTA"): 0.967,
    ("both unknown", "ReLU autoencoder"): 0.566,
    ("both unknown", "ReLU autoencoder + FISTA"): 0.583,
    ("both unknown", "alternating + FISTA"): 0.691,
}
"""Mean over five runs in the files that come with their code; they refine an encoder by 10,000 steps of Adam."""


def draw(found: pd.DataFrame, sizes: pd.DataFrame) -> Figure:
    """Plot correlations by regime, with published ones, and sizes by coder."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    means = found.groupby(["regime", "method"], sort=False)["codes"].mean()
    colors = dict(zip(dict.fromkeys(found["regime"]), COLORS, strict=False))
    places = range(len(means))
    left.barh(places, means, color=[colors[regime] for regime, _ in means.index], alpha=0.8)
    told = [(place, PUBLISHED[key]) for place, key in enumerate(means.index) if key in PUBLISHED]
    left.plot([value for _, value in told], [place for place, _ in told], "kD", ms=4, label="published")
    left.axvline(found["best_linear"].mean(), color="black", ls="--", label="best linear readout, √(M/N)")
    left.axvline(found["codes_chance"].mean(), color="black", ls=":", label="untrained encoder")
    left.set_yticks(places, [f"{regime}: {method}" for regime, method in means.index], fontsize=7)
    left.set(xlabel="correlation with the true latents (MCC)", xlim=(0.4, 1))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=8)
    bars = sizes.groupby("coder", sort=False)["size"].mean()
    right.barh(range(len(bars)), bars, color=COLORS[4], alpha=0.8)
    right.axvline(bars["FISTA"], color="black", ls="--", label="FISTA")
    right.plot(sizes["size"], sizes["coder"].map(list(bars.index).index), "k.", ms=4)
    right.set_yticks(range(len(bars)), list(bars.index), fontsize=7)
    right.set(xlabel="size of a code, in d_H")
    for axes in (left, right):
        axes.invert_yaxis()
    return figure


def conclude(found: pd.DataFrame, sizes: pd.DataFrame) -> list[str]:
    """Say in words what holds."""
    best = found[found["method"] == "alternating + FISTA"]
    codes, atoms = best["codes"], best["dictionary"].mean()
    mean = {str(name): float(size) for name, size in sizes.groupby("coder", sort=False)["size"].mean().items()}
    near = {name: size / mean["FISTA"] for name, size in mean.items()}
    enough = [name for name in ("LISTA", "ReLU encoder + 10 of FISTA", "LISTA + 10 of FISTA") if near[name] >= 0.95]
    autoencoder = found[found["method"] == "ReLU autoencoder"]
    ahead = float((autoencoder["codes"] - autoencoder["best_linear"]).mean())
    shares = ", ".join(f"{name} {near[name]:.0%}" for name in near if name != "FISTA")
    return [
        f"Both unknown, alternating sparse coding reaches an MCC of {codes.mean():.3f} ({codes.min():.3f} to "
        f"{codes.max():.3f}) and a dictionary at {atoms:.3f}, its start chosen by the objective (published: 0.691; "
        f"aim: 0.985, {'reached' if codes.mean() >= 0.985 else 'not reached'}).",
        f"A ReLU autoencoder is {abs(ahead):.3f} {'below' if ahead < 0 else 'above'} the best linear readout.",
        f"Of FISTA's size, {mean['FISTA']:.3f}, others keep: {shares}.",
        f"95 % of it by LISTA or ten more iterations: {', '.join(enough) or 'none'}.",
    ]
