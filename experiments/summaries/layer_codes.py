"""Figure and sentences of :mod:`experiments.layer_codes`."""

import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from experiments.shared.claims import stands
from experiments.shared.drawing import COLORS, name_columns


def draw(found: pd.DataFrame, latents: pd.DataFrame, sizes: pd.DataFrame) -> Figure:
    """Plot unexplained variance, what the last layer keeps, sizes of codes, and sizes of latents by frequency."""
    figure = Figure(figsize=(13, 8), layout="constrained")
    (unexplained, kept), (by_layer, by_latent) = figure.subplots(2, 2)
    places = ["\n".join(pair) for pair in dict.fromkeys(zip(found["model"], found["layer"], strict=True))]
    for axes, column in ((unexplained, "unexplained"), (kept, "kept")):
        for number, (reader, group) in enumerate(found.groupby("reader", sort=False)):
            where = [place + 0.15 * (number - 2) for place in range(len(places))]
            axes.bar(where, group[column], 0.14, color=COLORS[number], label=reader)
        name_columns(axes, places)
    unexplained.set(ylabel="share of variance unexplained", yscale="log")
    figure.legend(*kept.get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)
    kept.set(ylabel="share of the last layer kept", ylim=(min(0, found["kept"].min()), 1))
    layers = list(dict.fromkeys(sizes["layer"]))
    for number, (reader, group) in enumerate(sizes.groupby("reader", sort=False)):
        means = group.groupby("layer")["representation_size"].mean().loc[layers]
        by_layer.plot(
            group["layer"].map(layers.index), group["representation_size"], ".", color=COLORS[number], alpha=0.5
        )
        by_layer.plot(range(len(layers)), means, "o-", color=COLORS[number], label=reader)
    by_layer.set(ylabel="size of a layer's code", ylim=(0, None))
    by_layer.legend(frameon=False, fontsize=8)
    name_columns(by_layer, layers)
    for color, (layer, group) in zip(COLORS, latents.groupby("layer", sort=False), strict=False):
        by_latent.plot(group["frequency"], group["size"], ".", ms=2, color=color, label=str(layer))
    by_latent.set(xscale="log", xlabel="share of rows in which a latent is active", ylabel="size of a latent")
    by_latent.legend(frameon=False, fontsize=8, markerscale=4)
    return figure


def conclude(found: pd.DataFrame, latents: pd.DataFrame, sizes: pd.DataFrame) -> list[str]:
    """Say in words what holds."""
    by_place = found.set_index(["model", "layer", "reader"])
    fvu, kept = by_place["unexplained"].unstack(), by_place["kept"].unstack()
    alive = latents[~latents["dead"]].groupby(["model", "layer"], sort=False)
    frequent, large = (
        [spearmanr(own[column], own["size"], nan_policy="omit").statistic for _, own in alive]
        for column in ("frequency", "magnitude")
    )
    by_reader = sizes.groupby(["layer", "reader"], sort=False)["representation_size"].mean().unstack()
    dead = latents.groupby(["model", "layer"], sort=False)["dead"].mean()
    return [
        f"Pursuit explains more than the encoder of the same atoms with as many latents: "
        f"{stands(fvu['pursuit'] <= fvu['encoder'])} ({_pairs(fvu, 'pursuit', 'encoder')} unexplained).",
        f"Atoms that were learnt explain more than random ones, both by pursuit: "
        f"{stands(fvu['pursuit'] < fvu['random atoms, pursuit'])} ({_pairs(fvu, 'pursuit', 'random atoms, pursuit')}).",
        f"The last layer keeps more by pursuit than by the encoder: {stands(kept['pursuit'] >= kept['encoder'])} "
        f"({_pairs(kept, 'pursuit', 'encoder')}); random atoms by pursuit keep "
        f"{kept['random atoms, pursuit'].min():.2f} to {kept['random atoms, pursuit'].max():.2f}.",
        f"Codes by the encoder move farther than by pursuit: {stands(by_reader['encoder'] > by_reader['pursuit'])} "
        f"({_pairs(by_reader, 'encoder', 'pursuit')} in d_H).",
        f"Dead latents: {', '.join(f'{share:.0%}' for share in dead)}. Rank correlation of a latent's size with its "
        f"frequency: {min(frequent):.2f} to {max(frequent):.2f}, and with its magnitude: {min(large):.2f} to "
        f"{max(large):.2f}.",
    ]


def _pairs(table: pd.DataFrame, one: str, other: str) -> str:
    return ", ".join(
        f"{first:.3f} against {second:.3f}" for first, second in zip(table[one], table[other], strict=True)
    )
