"""Figure and sentences of :mod:`experiments.frontier`."""

import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS
from readout.analysis import plots
from readout.analysis.frontier import Comparison
from readout.representation import Verdict

NAMES = {
    "dip": "Deep Image Prior",
    "pixels": "pixels",
    "smooth": "pixels, total variation",
    "linear": "linear decoder",
    "trained": "trained decoder",
}


def draw(points: pd.DataFrame, comparison: Comparison, identified: pd.DataFrame, threshold: float) -> Figure:
    """Plot curves of all readouts with chance levels, one panel per layer, and the frontier last."""
    layers = list(dict.fromkeys(points["layer"]))
    figure = Figure(layout="constrained")
    *panels, last = plots.panels(len(layers) + 1, figure)
    readouts = list(dict.fromkeys(points["readout"]))
    shades = dict(zip(readouts, COLORS, strict=False))
    for panel, layer in zip(panels, layers, strict=True):
        for name, group in points[points["layer"] == layer].groupby("readout", sort=False):
            mean = group.groupby("level")[["feature_distance", "distance", "chance"]].mean()
            color = shades[str(name)]
            panel.scatter(group["feature_distance"], group["distance"], s=7, color=color, alpha=0.3, lw=0)
            panel.plot(mean["feature_distance"], mean["distance"], "-o", ms=3.5, color=color, label=NAMES[str(name)])
            panel.plot(mean["feature_distance"], mean["chance"], ":", color=color, lw=1.2)
        found = identified[identified["layer"] == layer].groupby("level")[["feature_distance", "distance"]].mean()
        panel.plot(
            found["feature_distance"], found["distance"], "-s", ms=3.5, color="grey", label="identification: errors"
        )
        panel.axhline(threshold, color="black", lw=1, ls="--")
        panel.set(title=layer, xlabel="perturbation of the feature, $d_H$", ylim=(-0.03, 1.25))
    panels[0].set_ylabel("$d_X$ (···: another image's feature)")
    panels[0].legend(frameon=False, fontsize=7.5, loc="upper left")
    plots.frontier([comparison], last)
    last.tick_params(axis="x", rotation=45)
    return figure


def conclude(
    points: pd.DataFrame, comparison: Comparison, identified: pd.DataFrame, threshold: float
) -> tuple[str, ...]:
    """State the result in sentences."""
    listed = [
        f"at {layer} "
        + ", ".join(f"{size.median:.2f}{'*' if size.bounds else ''} by {name}" for name, size in row.sizes.items())
        + f" (frontier {row.frontier.median:.2f}, linear network {row.linear:.2f}, amortisation gap {row.gap})"
        for layer, row in comparison.layers.items()
    ]
    return (
        f"Median sizes of {points['sample'].nunique()} photographs (*: with lower bounds): " + "; ".join(listed) + ".",
        f"{_best(points)}.",
        f"Another image's feature read in the same way {_control(points, threshold)}; {_identity(identified)}.",
    )


def _best(points: pd.DataFrame) -> str:
    """Name the readout with the smallest mean d_X at each layer, without noise and at the highest level."""
    said = []
    for level in (points["level"].min(), points["level"].max()):
        means = points[points["level"] == level].groupby(["layer", "readout"], sort=False)["distance"].mean()
        best = [means[layer].idxmin() for layer in dict.fromkeys(points["layer"])]
        listed = [
            f"{layer} {NAMES[str(name)]} ({means[layer][name]:.3f})"
            for layer, name in zip(dict.fromkeys(points["layer"]), best, strict=True)
        ]
        said.append(f"at level {level:g} the smallest mean d_X is read at {', '.join(listed)}")
    return "; ".join(said)[:1].upper() + "; ".join(said)[1:]


def _control(points: pd.DataFrame, threshold: float) -> str:
    """Describe readings of other images' features by the same readouts."""
    chance = points.groupby("readout", sort=False)["chance"].mean()
    close = int((points["nearest_other"] < threshold).sum())
    return (
        f"gives a mean d_X of {chance.min():.2f} to {chance.max():.2f}, and below the threshold in {close} of "
        f"{len(points)} readings"
    )


def _identity(identified: pd.DataFrame) -> str:
    """Describe up to which level the image is identified."""
    wrong = identified[identified["verdict"] != Verdict.RECOVERED.value]
    count = round(1 / identified["chance"].iloc[0])
    if wrong.empty:
        return f"the image is identified among {count:,} at every level up to {identified['level'].max():g}"
    above = int((identified["level"] >= wrong["level"].min()).sum())
    return (
        f"the image is identified among {count:,} at every level below {wrong['level'].min():g}, and from there on in "
        f"{above - len(wrong)} of {above} readings"
    )
