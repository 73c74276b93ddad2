"""Figure and sentences of :mod:`experiments.dictionary_learning`."""

import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.claims import stands
from experiments.shared.drawing import COLORS, plain_log
from readout.code_theory import linear_code_bound


def draw(found: pd.DataFrame) -> Figure:
    """Plot correlations by method, in and out of distribution, and by number of samples."""
    sizes = list(dict.fromkeys(found["atoms"]))
    figure = Figure(figsize=(6.5 * len(sizes), 7), layout="constrained")
    panels = figure.subplots(2, len(sizes), squeeze=False)
    for (top, bottom), atoms in zip(panels.T, sizes, strict=True):
        own = found[found["atoms"] == atoms]
        asked = own[own["method"] == "linear probe"]["samples"].iloc[0]
        bars = (
            own[own["samples"].isin([0, asked])]
            .groupby("method", sort=False)[["inside", "outside", "dictionary"]]
            .mean()
        )
        for number, column in enumerate(bars):
            where = [place + 0.25 * (number - 1) for place in range(len(bars))]
            top.barh(where, bars[column], 0.24, color=COLORS[number], label=str(column))
        top.set_yticks(range(len(bars)), list(bars.index), fontsize=8)
        top.invert_yaxis()
        top.set(xlim=(0, 1), title=f"N = {atoms}, {asked:,} samples", xlabel="correlation (MCC)")
        top.legend(frameon=False, fontsize=8)
        curve = (
            own[own["method"] == "alternating + FISTA"].groupby("samples")[["inside", "outside", "dictionary"]].mean()
        )
        for number, column in enumerate(curve):
            bottom.plot(curve.index, curve[column], "o-", color=COLORS[number], label=str(column))
        bottom.axhline(own["dictionary_chance"].mean(), color=COLORS[2], ls=":")
        bottom.set(xlabel="samples", ylabel="alternating: MCC", ylim=(0, 1.02))
        plain_log(bottom)
        bottom.set_xticks(curve.index, [f"{count:,}" for count in curve.index])
    return figure


def conclude(found: pd.DataFrame) -> list[str]:
    """Say in words what holds, by number of latents."""
    return [_conclude(int(str(atoms)), own) for atoms, own in found.groupby("atoms", sort=False)]


def _conclude(atoms: int, own: pd.DataFrame) -> str:
    asked = int(own[own["method"] == "linear probe"]["samples"].iloc[0])
    at = own[own["samples"].isin([0, asked])].set_index("method")
    inside, outside, dictionary = (
        dict(at[name].groupby("method").mean()) for name in ("inside", "outside", "dictionary")
    )
    best = "alternating + FISTA"
    gains = [inside[f"{name} autoencoder + FISTA"] - inside[f"{name} autoencoder"] for name in ("ReLU", "top-K")]
    wrong = [dictionary[f"{name} autoencoder"] < 0.9 for name in ("ReLU", "top-K")]
    bound = 1 - float(linear_code_bound(atoms, int(own["dimensions"].iloc[0])))
    curve = own[own["method"] == best].groupby("samples")["dictionary"].mean()
    by_samples = ", ".join(f"{count:,}: {value:.3f}" for count, value in curve.items())
    oracle = f"{inside['oracle']:.3f} and {outside['oracle']:.3f} out of distribution"
    learnt = f"{dictionary['ReLU autoencoder']:.3f} and {dictionary['top-K autoencoder']:.3f}"
    return (
        f"N = {atoms}, {asked:,} samples: oracle {oracle}; alternating {inside[best]:.3f} and {outside[best]:.3f}. "
        f"That dictionaries of autoencoders are wrong {stands(wrong)} ({learnt}, chance "
        f"{own['dictionary_chance'].mean():.3f}); FISTA on them adds {min(gains):+.3f} to {max(gains):+.3f}. A linear "
        f"probe reaches {inside['linear probe']:.3f} of √(M/N) = {bound:.3f}. Alternating, by samples: {by_samples}."
    )
