"""Comparisons of groups of inputs along training, and of trained with random networks."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS, dots, name_columns
from experiments.shared.statistics import columns, group_difference, holm
from readout.analysis.statistics import paired_difference

SPLITS = {"natural or noise": (("hit", "miss"), ("noise",)), "hit or miss": (("hit",), ("miss",))}
"""Comparison → its two groups of images."""


def compare_groups(stages: pd.DataFrame) -> pd.DataFrame:
    """Return the AUC of two groups' sizes, Holm-corrected over layers, one row per (split, readout, epoch, layer)."""
    rows = []
    for split, (first, second) in SPLITS.items():
        for (readout, epoch), stage in stages.groupby(["readout", "epoch"], sort=False):
            found = {}
            for layer, group in stage.groupby("layer", sort=False):
                above, below = (group.loc[group["label"].isin(side), "size"] for side in (first, second))
                found[str(layer)] = group_difference(above, below)
            corrected = holm([difference.p for difference in found.values()])
            what = {"split": split, "readout": readout, "epoch": epoch}
            for (layer, difference), p in zip(found.items(), corrected, strict=True):
                rows.append({**what, "layer": layer, **columns(difference.auc, "auc"), "p_holm": p})
    return pd.DataFrame(rows)


def compare_networks(stages: pd.DataFrame, vgg: pd.DataFrame) -> pd.DataFrame:
    """Return sizes of the same natural images, trained minus random, Holm-corrected over layers.

    One row per (model, readout, layer).
    """
    rows = []
    for model, sizes in (("classifier", stages[stages["label"] != "noise"]), ("VGG19", vgg)):
        for readout, own in sizes.groupby("readout", sort=False):
            found = {}
            for layer, group in own.groupby("layer", sort=False):
                by_epoch = group.pivot(index="sample", columns="epoch", values="size")
                found[str(layer)] = paired_difference(by_epoch.iloc[:, -1], by_epoch.iloc[:, 0])
            corrected = holm([difference.p for difference in found.values()])
            for (layer, difference), p in zip(found.items(), corrected, strict=True):
                what = {"model": model, "readout": readout, "layer": layer, "pairs": difference.mean.count}
                rows.append({**what, **columns(difference.mean, "gain"), "p_holm": p})
    return pd.DataFrame(rows)


def draw(stages: pd.DataFrame, vgg: pd.DataFrame, splits: pd.DataFrame) -> Figure:
    """Plot sizes by inversion along training, AUCs between groups by readout, and sizes of both VGG19 networks."""
    inverted = stages[stages["readout"] == "inversion"]
    layers = list(dict.fromkeys(inverted["layer"]))
    figure = Figure(figsize=(16, 7), layout="constrained")
    top, bottom = np.ravel(np.asarray(figure.subfigures(2, 1)))
    for axes, layer in zip(top.subplots(1, len(layers), sharey=True, squeeze=False).flat, layers, strict=True):
        _draw_training(axes, inverted[inverted["layer"] == layer])
        axes.set_title(layer)
    top.axes[0].set_ylabel("representation size by inversion")
    panels = bottom.subplots(1, 3)
    for axes, split in zip(panels, SPLITS, strict=False):
        for color, (readout, group) in zip(
            COLORS[2:], splits[splits["split"] == split].groupby("readout", sort=False), strict=False
        ):
            mean = group.groupby("epoch")["auc"].mean()
            axes.plot(range(len(mean)), mean, "o-", ms=4, color=color, label=str(readout))
        axes.axhline(0.5, color="grey", ls=":", lw=1)
        axes.set(ylabel=f"AUC of sizes, {split}, mean over layers", xlabel="epoch", ylim=(0, 1.03))
        name_columns(axes, [str(epoch) for epoch in stages["epoch"].unique()])
        axes.legend(frameon=False, fontsize=8)
    vgg_layers = list(dict.fromkeys(vgg["layer"]))
    for place, layer in enumerate(vgg_layers):
        both = vgg[vgg["layer"] == layer].pivot(index="sample", columns="epoch", values="size")
        panels[2].plot(place + np.array([-0.2, 0.2]), both.to_numpy().T, color="grey", lw=0.6, alpha=0.6)
        for shift, color, epoch, name in ((-0.2, COLORS[1], 0, "random"), (0.2, COLORS[0], 1, "trained")):
            label = f"VGG19, {name}" if place == 0 else None
            dots(panels[2], place + shift, both[epoch], color, width=0, label=label)
    panels[2].set(ylabel="representation size, photographs")
    name_columns(panels[2], vgg_layers)
    panels[2].legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def _draw_training(axes: Axes, sizes: pd.DataFrame) -> None:
    epochs = list(sizes["epoch"].unique())
    for shift, color, label in ((-0.28, COLORS[0], "hit"), (0, COLORS[1], "miss"), (0.28, COLORS[6], "noise")):
        group = sizes[sizes["label"] == label]
        for place, epoch in enumerate(epochs):
            values = group.loc[group["epoch"] == epoch, "size"]
            dots(axes, place + shift, values, color, label=label if place == 0 else None)
    axes.set(xlabel="epoch")
    name_columns(axes, [str(epoch) for epoch in epochs])
    axes.legend(frameon=False, fontsize=8)


def conclude(splits: pd.DataFrame, gains: pd.DataFrame) -> tuple[str, ...]:
    """State the result in two sentences per readout."""
    said = []
    for readout, own in splits.groupby("readout", sort=False):
        parts = []
        for split, group in own.groupby("split", sort=False):
            ends = [group[group["epoch"] == epoch] for epoch in (group["epoch"].min(), group["epoch"].max())]
            before, after = (f"{_where(end, 'auc', 0.5)}, mean AUC {end['auc'].mean():.2f}" for end in ends)
            parts.append(f"{split}: {before} before training and {after} after it")
        said.append(
            f"Sizes by {readout} differ between groups (the first larger or smaller, Mann–Whitney, Holm over layers, "
            f"p < 0.05) as follows; {'; '.join(parts)}."
        )
    for (model, name), group in gains.groupby(["model", "readout"], sort=False):
        by_layer = [
            f"{row['layer']} {row['gain']:+.3f} ({row['gain_low']:+.3f} to {row['gain_high']:+.3f})"
            for _, row in group.iterrows()
        ]
        said.append(
            f"Sizes by {name} of the same {group['pairs'].iloc[0]} images in the {model} are, after training, "
            f"{_where(group, 'gain', 0)} ({', '.join(by_layer)}; paired, sign-flip permutation, Holm over layers, "
            "p < 0.05)."
        )
    return tuple(said)


def _where(table: pd.DataFrame, column: str, null: float) -> str:
    """Describe at which layers a column lies significantly above or below its null value."""
    sure = table[table["p_holm"] < 0.05]
    above, below = sure[sure[column] > null]["layer"], sure[sure[column] < null]["layer"]
    found = [f"{word} at {', '.join(names)}" for word, names in (("larger", above), ("smaller", below)) if len(names)]
    return " and ".join(found) or "no sure difference at any layer"
