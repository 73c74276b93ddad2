"""Figure and sentences of :mod:`experiments.decoder`."""

import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS, dots, name_columns
from experiments.shared.statistics import holm
from readout.analysis.statistics import bootstrap_interval, paired_difference
from readout.representation import linear_size

NAMES = {
    "dip": "Deep Image Prior",
    "pixels": "pixels",
    "smooth": "pixels, total variation",
    "trained": "trained decoder",
}


def draw(points: pd.DataFrame, sizes: pd.DataFrame, nearest: pd.DataFrame, threshold: float) -> Figure:
    """Plot curves of all readouts with chance levels, one panel per layer, and sizes beside them."""
    layers = list(dict.fromkeys(points["layer"]))
    figure = Figure(figsize=(3.6 * len(layers) + 4.6, 4.4), layout="constrained")
    panels = figure.subplots(1, len(layers) + 1, width_ratios=[1] * len(layers) + [1.3])
    readouts = list(dict.fromkeys(points["readout"]))
    shades = dict(zip(readouts, COLORS, strict=False))
    for panel, layer in zip(panels, layers, strict=False):
        for name, group in points[points["layer"] == layer].groupby("readout", sort=False):
            mean = group.groupby("level")[["feature_distance", "distance", "chance"]].mean()
            color = shades[str(name)]
            panel.scatter(group["feature_distance"], group["distance"], s=7, color=color, alpha=0.3, lw=0)
            panel.plot(mean["feature_distance"], mean["distance"], "-o", ms=3.5, color=color, label=NAMES[str(name)])
            panel.plot(mean["feature_distance"], mean["chance"], ":", color=color, lw=1.2)
        found = nearest[nearest["layer"] == layer].groupby("level")[["feature_distance", "distance"]].mean()
        panel.plot(found["feature_distance"], found["distance"], "-s", ms=3.5, color="grey", label="nearest input")
        panel.axhline(threshold, color="black", lw=1, ls="--")
        panel.set(title=layer, xlabel="perturbation of the feature, $d_H$", ylim=(-0.03, 1.25))
    panels[0].set_ylabel("$d_X$ (···: another image's feature)")
    panels[0].legend(frameon=False, fontsize=7.5, loc="upper left")
    for place, layer in enumerate(layers):
        group = sizes[sizes["layer"] == layer]
        for index, name in enumerate(readouts):
            shift = 0.8 * ((index + 0.5) / len(readouts) - 0.5)
            values = group[group["readout"] == name]["crossing"]
            dots(panels[-1], place + shift, values, shades[name], 0.8 / len(readouts), None if place else NAMES[name])
        closed = _closed_form(group, threshold)
        label = None if place else "linear, no prior"
        panels[-1].hlines(closed, place - 0.4, place + 0.4, color="black", ls=":", label=label)
    name_columns(panels[-1], layers)
    panels[-1].set(ylabel="representation size, $d_H$", ylim=(-0.02, 1.02), title="Sizes")
    panels[-1].legend(frameon=False, fontsize=7.5)
    return figure


def conclude(points: pd.DataFrame, sizes: pd.DataFrame, nearest: pd.DataFrame, threshold: float) -> tuple[str, str]:
    """State the result in two sentences."""
    listed = [
        f"at {layer} "
        + ", ".join(
            f"{bootstrap_interval(part['crossing'])}{'*' if part['lower_bound'].any() else ''} with {NAMES[str(name)]}"
            for name, part in group.groupby("readout", sort=False)
        )
        + f", {_closed_form(group, threshold):.2f} by the linear closed form"
        for layer, group in sizes.groupby("layer", sort=False)
    ]
    return (
        f"The same features of {sizes['sample'].nunique()} photographs have sizes of "
        + "; ".join(listed)
        + (" (*: with lower bounds among them)." if sizes["lower_bound"].any() else "."),
        f"{_share(sizes)}; {_control(points, threshold)}, and the nearest of {nearest['candidates'].iloc[0]} inputs is "
        f"{_identity(nearest)}.",
    )


def _share(sizes: pd.DataFrame) -> str:
    """Describe sizes of the other readouts as shares of the Deep Image Prior's."""
    wide = sizes.pivot_table(index=["layer", "sample"], columns="readout", values="crossing", sort=False)
    groups = [(str(layer), group) for layer, group in wide.groupby("layer", sort=False) if group["dip"].mean() > 0]
    if not groups:
        return "Nothing was recovered with a Deep Image Prior"
    others = [str(name) for name in wide.columns if name != "dip"]
    tests = [
        (name, layer, group, paired_difference(group[name], group["dip"])) for name in others for layer, group in groups
    ]
    said: dict[str, list[str]] = {name: [] for name in others}
    for (name, layer, group, _), p in zip(tests, holm([test.p for *_, test in tests]), strict=True):
        said[name].append(f"{100 * group[name].mean() / group['dip'].mean():.0f} % at {layer} (p = {p:.2g})")
    listed = "; ".join(f"{', '.join(parts)} with {NAMES[name]}" for name, parts in said.items())
    tuned = ", the weight of total variation having been chosen on astronaut and coffee" if "smooth" in others else ""
    return f"Of the size with a Deep Image Prior there are {listed} (Holm-corrected{tuned})"


def _control(points: pd.DataFrame, threshold: float) -> str:
    """Describe recoveries from other images' features under the same priors."""
    chance = points.groupby("readout", sort=False)["chance"].mean()
    close = int((points["nearest_other"] < threshold).sum())
    above = points[points["distance"] >= threshold]
    told = (above["distance"] < above["nearest_other"]).mean()
    kept = f", and of what was not recovered {100 * told:.0f} % still is nearest to its own image" if len(above) else ""
    return (
        f"another image's feature read under the same prior gives a d_X of {chance.min():.2f} to {chance.max():.2f} "
        f"and comes below the threshold in {close} of {len(points)} readings{kept}"
    )


def _identity(nearest: pd.DataFrame) -> str:
    """Describe up to which level the nearest input is the true one."""
    wrong = nearest[nearest["distance"] > 0]
    top = nearest["level"].max()
    if wrong.empty:
        return f"the right one at every level tested, up to {top:g}"
    above = int((nearest["level"] >= wrong["level"].min()).sum())
    return (
        f"the right one at every level below {wrong['level'].min():g}, and from there on a wrong one in {len(wrong)} "
        f"of {above} readings"
    )


def _closed_form(group: pd.DataFrame, threshold: float) -> float:
    return linear_size(threshold, group["feature_dim"].iloc[0] / group["input_dim"].iloc[0])
