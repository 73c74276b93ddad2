"""Figure and sentences of :mod:`experiments.language_recovery`."""

import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.drawing import COLORS, MARKERS
from experiments.shared.statistics import holm, rank_correlation
from readout.analysis.plots import recovery
from readout.analysis.statistics import bootstrap_interval, by_sample, paired_difference

READOUTS = {"logits": "by token logits", "search": "token by token"}
FEWEST_NETWORKS = 4
"""Fewest networks for a statement on size and width."""


def compare_with_chance(results: pd.DataFrame) -> pd.DataFrame:
    """Compare error rates with chance, one row per (network, readout, layer, level).

    p comes from a sign-flip permutation test over texts, Holm-corrected over all rows.
    """
    by = ["network", "readout", "layer", "level"]
    texts = by_sample(results, ["distance", "chance"], [*by, "sample"])
    rows = []
    for names, group in texts.groupby(by, sort=False):
        test = paired_difference(group["distance"], group["chance"])
        means = {"error_rate": group["distance"].mean(), "chance": group["chance"].mean()}
        rows.append({**dict(zip(by, names, strict=True)), **means, "p_raw": test.p})
    table = pd.DataFrame(rows)
    return table.assign(p=holm(table["p_raw"]))


def draw(results: pd.DataFrame, sizes: pd.DataFrame) -> Figure:
    """Plot curves, one panel per (network, readout), and sizes by relative depth."""
    groups = list(results.groupby(["network", "readout"], sort=False))
    columns = min(4, len(groups) + 1)
    rows = -(-(len(groups) + 1) // columns)
    figure = Figure(figsize=(4.1 * columns, 3.9 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, ((network, readout), group) in zip(panels, groups, strict=False):
        recovery(group, panel)
        mean = group.groupby("level")[["feature_distance", "chance"]].mean()
        panel.plot(mean["feature_distance"], mean["chance"], "-.", color="grey", lw=1.2, label="another text's feature")
        panel.set(title=f"{network}, {READOUTS[str(readout)]}", ylabel="token error rate")
        panel.legend(frameon=True, fontsize=7)
    last = panels[len(groups)]
    for place, ((network, readout), group) in enumerate(sizes.groupby(["network", "readout"], sort=False)):
        color, marker = COLORS[place % len(COLORS)], MARKERS[place % len(MARKERS)]
        by_depth = group.groupby("depth")["size"].mean()
        last.scatter(group["depth"], group["size"], s=14, marker=marker, color=color, alpha=0.3, lw=0)
        last.plot(by_depth.index, by_depth, marker=marker, color=color, label=f"{network}, {READOUTS[str(readout)]}")
    last.set(xlabel="depth of the layer", ylabel="representation size, $d_H$", ylim=(-0.02, 1.02), title="Sizes")
    last.legend(frameon=False, fontsize=7.5)
    for spare in panels[len(groups) + 1 :]:
        spare.set_axis_off()
    return figure


def conclude(results: pd.DataFrame, sizes: pd.DataFrame, chance: pd.DataFrame) -> tuple[str, str]:
    """State the result in two sentences."""
    parts = []
    for (network, readout), group in sizes.groupby(["network", "readout"], sort=False):
        layers = [
            f"{bootstrap_interval(part['size'])} at {layer}" for layer, part in group.groupby("layer", sort=False)
        ]
        parts.append(f"{network} {READOUTS[str(readout)]} ({group['sample'].nunique()} texts) {', '.join(layers)}")
    above = chance[(chance["level"] > 0) & (chance["error_rate"] < chance["chance"])]
    perturbed = int((chance["level"] > 0).sum())
    first = (
        f"Representation sizes (token error rate below {results['threshold'].iloc[0]:g}) are: {'; '.join(parts)}; "
        f"under noise {len(above)} of {perturbed} mean error rates lie below chance, "
        f"{int((above['p'] < 0.05).sum())} of them with p < 0.05 (Holm-corrected)."
    )
    return first, f"{_both_ways(results)}; {_scaling(sizes)}."


def _both_ways(results: pd.DataFrame) -> str:
    """Describe how many failures of token logits a search recovers from the same features."""
    point = ["network", "layer", "sample", "level", "draw"]
    logits, search = (
        results[results["readout"] == name].set_index(point)["verdict"] == "recovered" for name in ("logits", "search")
    )
    both = pd.concat({"logits": logits, "search": search}, axis=1).dropna()
    lost = both[~both["logits"].astype(bool)]
    if both.empty:
        return "No network was read in both ways"
    found = int(lost["search"].astype(bool).sum())
    return (
        f"Of {len(both)} features of causal networks token logits lose {len(lost)}, of which {found} are read token by "
        f"token, so {'most' if 2 * found > len(lost) else 'some' if found else 'none'} of these losses "
        f"{'are' if found else 'is known to be'} the optimiser's"
    )


def _scaling(sizes: pd.DataFrame) -> str:
    """Describe how size correlates with a network's width and vocabulary (read by token logits)."""
    read = sizes[sizes["readout"] == "logits"]
    networks = read.groupby("network")[["size", "width", "vocabulary"]].mean()
    if len(networks) < FEWEST_NETWORKS:
        return f"how size goes with width and vocabulary can't be told from {len(networks)} networks"
    width, vocabulary = (rank_correlation(networks[name], networks["size"]).rho for name in ("width", "vocabulary"))
    return (
        f"over {len(networks)} networks mean size goes with width by ρ = {width}, with vocabulary by ρ = {vocabulary}"
    )
