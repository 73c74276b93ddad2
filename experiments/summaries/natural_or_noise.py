"""Figure and sentences of :mod:`experiments.natural_or_noise`."""

import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS, dots, name_columns
from experiments.shared.statistics import group_difference, holm
from readout.analysis.statistics import bootstrap_interval, paired_difference

NAMES = {
    "photographs": "photographs",
    "phase_scrambled": "phase-scrambled",
    "pixel_shuffled": "pixel-shuffled",
    "gaussian_noise": "Gaussian noise",
    "uniform_noise": "uniform noise",
}
READOUTS = {"dip": "Deep Image Prior", "pixels": "pixels, no prior"}
SCRAMBLED = ("phase_scrambled", "pixel_shuffled")
"""Kinds of image made from each photograph."""


def compare(sizes: pd.DataFrame) -> pd.DataFrame:
    """Compare photographs with every other kind, one row per (readout, layer, kind).

    Scrambled photographs are compared with their originals (sign-flip permutation test), noise as a separate group
    (Mann–Whitney). ``difference`` is the mean of photographs minus that of the other kind, ``auc`` the probability
    that a photograph's size is larger. p is Holm-corrected within a readout.
    """
    rows = []
    for (readout, layer), group in sizes.groupby(["readout", "layer"], sort=False):
        by_kind = {str(kind): part for kind, part in group.groupby("kind", sort=False)}
        natural = by_kind.pop("photographs")
        for kind, part in by_kind.items():
            unpaired = group_difference(natural["crossing"], part["crossing"])
            p = unpaired.p
            if kind in SCRAMBLED:
                own = part.assign(sample=part["sample"].str.removeprefix(f"{kind}/"))
                pairs = natural.merge(own, on="sample", suffixes=("", "_other"), validate="one_to_one")
                p = paired_difference(pairs["crossing"], pairs["crossing_other"]).p
            difference = natural["crossing"].mean() - part["crossing"].mean()
            rows.append(
                {"readout": readout, "layer": layer, "kind": kind, "difference": difference}
                | {"auc": unpaired.auc.value, "auc_low": unpaired.auc.low, "auc_high": unpaired.auc.high, "p_raw": p}
            )
    tests = pd.DataFrame(rows)
    return tests.assign(p=tests.groupby("readout")["p_raw"].transform(lambda p: holm(p)))


def draw(results: pd.DataFrame, sizes: pd.DataFrame) -> Figure:
    """Plot d_X against d_H, one panel per (readout, layer), and sizes with one dot per image."""
    layers, kinds = list(dict.fromkeys(results["layer"])), list(dict.fromkeys(results["kind"]))
    shown = layers[:: max(1, len(layers) // 3)][:3]
    readouts = list(dict.fromkeys(results["readout"]))
    colors = dict(zip(kinds, COLORS, strict=False))
    figure = Figure(figsize=(3.5 * len(shown) + 5, 3.7 * len(readouts)), layout="constrained")
    grid = figure.subplots(len(readouts), len(shown) + 1, squeeze=False, width_ratios=[1] * len(shown) + [1.5])
    for axes, readout in zip(grid, readouts, strict=True):
        for panel, layer in zip(axes, shown, strict=False):
            chosen = results[(results["readout"] == readout) & (results["layer"] == layer)]
            for kind, group in chosen.groupby("kind", sort=False):
                mean = group.groupby("level")[["feature_distance", "distance"]].mean()
                color, name = colors[str(kind)], NAMES[str(kind)]
                panel.scatter(group["feature_distance"], group["distance"], s=7, color=color, alpha=0.3, lw=0)
                panel.plot(mean["feature_distance"], mean["distance"], "-o", ms=3.5, color=color, label=name)
            panel.axhline(chosen["threshold"].iloc[0], color="black", lw=1, ls="--")
            panel.set(title=f"{layer}, {READOUTS[readout]}", xlabel="perturbation of the feature, $d_H$")
            panel.set_ylim(-0.03, 1.1)
        axes[0].set_ylabel("$d_X$")
        for place, layer in enumerate(layers):
            for index, kind in enumerate(kinds):
                chosen = sizes[(sizes["readout"] == readout) & (sizes["layer"] == layer) & (sizes["kind"] == kind)]
                shift = 0.84 * ((index + 0.5) / len(kinds) - 0.5)
                dots(axes[-1], place + shift, chosen["crossing"], colors[kind], 0.84 / len(kinds))
        name_columns(axes[-1], layers, rotation=60 if len(layers) > 6 else 0)
        axes[-1].set(ylabel="representation size, $d_H$", ylim=(-0.02, 1.02), title=f"Sizes, {READOUTS[readout]}")
    grid[0][0].legend(frameon=False, fontsize=7.5, loc="upper left")
    return figure


def conclude(results: pd.DataFrame, sizes: pd.DataFrame, tests: pd.DataFrame) -> tuple[str, str]:
    """State the result in two sentences."""
    dip = tests[tests["readout"] == "dip"]
    listed = []
    for layer, group in sizes[sizes["readout"] == "dip"].groupby("layer", sort=False):
        against = dip[dip["layer"] == layer].set_index("kind")["p"]
        parts = [
            f"{bootstrap_interval(part['crossing'])}{'*' if part['lower_bound'].any() else ''} for {NAMES[str(kind)]}"
            + (f" (p = {against[kind]:.2g})" if kind in against.index else "")
            for kind, part in group.groupby("kind", sort=False)
        ]
        listed.append(f"at {layer} {', '.join(parts)}")
    first = (
        f"With a Deep Image Prior sizes are {'; '.join(listed)} (p against photographs, Holm-corrected; "
        f"{_count(sizes)} images of each kind"
        + ("; *: lower bounds among them)." if sizes["lower_bound"].any() else ").")
    )
    return first, _whose(results, tests)


def _whose(results: pd.DataFrame, tests: pd.DataFrame) -> str:
    """Describe whether noise can be recovered at all, and what difference remains without the prior."""
    clean = results[(results["level"] == 0) & (results["kind"] == "uniform_noise")]
    read = {
        str(name): f"{int((group['verdict'] == 'recovered').sum())} of {len(group)}"
        for name, group in clean.groupby("readout", sort=False)
    }
    uniform = tests[tests["kind"] == "uniform_noise"]
    parts = []
    for layer, group in uniform.groupby("layer", sort=False):
        with_prior, without = (group[group["readout"] == name].iloc[0] for name in ("dip", "pixels"))
        parts.append(
            f"{with_prior['difference']:+.2f} with the prior (p = {with_prior['p']:.2g}) and "
            f"{without['difference']:+.2f} with pixels (p = {without['p']:.2g}) at {layer}"
        )
    both = uniform.groupby("readout")["difference"].mean()
    verdict = "less of it is left" if both["pixels"] < both["dip"] else "no less of it is left"
    return (
        f"Of unmoved features of uniform noise the prior reads {read['dip']} and pixels {read['pixels']}; the "
        f"size of photographs above that of uniform noise is {', '.join(parts)}, so {verdict} without the prior."
    )


def _count(sizes: pd.DataFrame) -> str:
    counts = sizes.groupby("kind")["sample"].nunique()
    return str(counts.min()) if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
