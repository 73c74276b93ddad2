"""Does the agreement of dictionaries over seeds tell whether they are true?

    python -m experiments.consistency --scale cpu

learns dictionaries of the same data from several seeds, by alternating sparse coding and by ReLU and TopK autoencoders,
and compares their mean agreement (:class:`readout.metrics.PWMCC`) with their mean agreement with the true atoms
(:class:`readout.metrics.DictionaryMCC`), beside random dictionaries. Codes are planted, with fewer dimensions than
atoms; in the last data set they are hierarchical, on as many dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from experiments.shared.claims import stands
from experiments.shared.dictionaries import Tree, dictionary_mcc
from experiments.shared.drawing import COLORS, MARKERS
from experiments.shared.harness import Experiment, begin, style
from experiments.shared.statistics import rank_correlation
from readout.codes import (
    Dictionary,
    GaussianDictionary,
    OrthonormalDictionary,
    ReLUEncoder,
    SparseCodes,
    Superposition,
    TopKEncoder,
)
from readout.learning import Activations, AlternatingLearner, DictionaryLearner, SparseAutoencoder
from readout.metrics import PWMCC

HIERARCHY = "hierarchy"


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    planted: tuple[tuple[int, int], ...]
    """Numbers of atoms and of active latents; there are half as many dimensions as atoms."""
    tree: tuple[int, int, int]
    """Parents, children of each, and active parents."""
    count: int
    steps: int
    """Training steps of autoencoders; alternating ones take a tenth."""
    seeds: int


SCALES = {
    "smoke": Scale(((8, 2), (16, 2)), (4, 2, 2), 300, 200, 2),
    "cpu": Scale(((16, 2), (16, 4), (32, 3), (64, 4)), (8, 3, 2), 2000, 600, 5),
    "paper": Scale(((64, 4), (64, 12), (256, 8), (256, 32), (1024, 16)), (128, 3, 8), 200_000, 30_000, 10),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn dictionaries of all data from all seeds, and write table, figure and sentences."""
    experiment = begin("consistency", __doc__, SCALES, arguments)
    scale = experiment.scale
    tables = []
    for latents, active in scale.planted:
        codes, truth = SparseCodes(scale.count, active), GaussianDictionary(latents, latents // 2)
        tables.append(measure(experiment, f"N {latents}, K {active}", Superposition(truth), codes, active))
    parents, children, active = scale.tree
    tree = Tree(scale.count, parents, children, active)
    network = Superposition(OrthonormalDictionary(len(tree.parent_of)))
    tables.append(measure(experiment, HIERARCHY, network, tree, 2 * active))
    table = pd.concat(tables, ignore_index=True)
    with style():
        figure = draw(table)
    experiment.finish(table, figure, *conclude(table))


def learners(latents: int, active: int, seed: int) -> dict[str, DictionaryLearner]:
    """Return the learners by name."""
    return {
        "alternating": AlternatingLearner(latents, restarts=2, iterations=20, most_rows=1000, seed=seed),
        "ReLU": SparseAutoencoder(ReLUEncoder(), latents, lr=3e-3, seed=seed),
        "TopK": SparseAutoencoder(TopKEncoder(active), latents, lr=3e-3, seed=seed),
    }


def measure(
    experiment: Experiment[Scale], name: str, network: Superposition, codes: SparseCodes | Tree, active: int
) -> pd.DataFrame:
    """Return agreement over seeds and with the truth, one row per learner and one for random dictionaries."""
    scale, truth = experiment.scale, network.dictionary
    data = Activations(network, "superposition", codes, standardise="scale")
    # not the seed of the true atoms
    found: dict[str, list[Dictionary]] = {
        "random": [GaussianDictionary(len(truth), truth.dimensions, seed=1 + seed) for seed in range(scale.seeds)]
    }
    for seed in range(scale.seeds):
        for learner, how in learners(len(truth), active, seed).items():
            steps = scale.steps // 10 if learner == "alternating" else scale.steps
            folder = f"{name.replace(', ', '-').replace(' ', '')}-{learner}-{seed}"
            found.setdefault(learner, []).append(experiment.learn(folder, how, data, steps).dictionary)
    rows = []
    for learner, dictionaries in found.items():
        agreement, mccs = PWMCC(), [dictionary_mcc(truth.atoms, each.atoms) for each in dictionaries]
        for dictionary in dictionaries:
            agreement.update(dictionary.atoms)
        row = {"data": name, "learner": learner, "pwmcc": float(agreement.compute()), "mcc": sum(mccs) / len(mccs)}
        rows.append({**row, "lowest_mcc": min(mccs), "highest_mcc": max(mccs), "seeds": len(mccs)})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Figure:
    """Plot agreement over seeds against agreement with the truth, one mark per data set and learner."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    low = 0.95 * table[["pwmcc", "mcc"]].to_numpy().min()
    axes.plot([low, 1], [low, 1], ls="--", color="grey", lw=1)
    markers = dict(zip(table["data"].unique(), MARKERS, strict=False))
    for color, (learner, own) in zip(("#000000", *COLORS), table.groupby("learner", sort=False), strict=False):
        axes.scatter([], [], color=color, label=str(learner))
        for _, row in own.iterrows():
            axes.plot([row["lowest_mcc"], row["highest_mcc"]], [row["pwmcc"]] * 2, color=color, lw=1, alpha=0.5)
            axes.scatter(row["mcc"], row["pwmcc"], color=color, marker=markers[row["data"]], s=40)
    for name, marker in markers.items():
        axes.scatter([], [], color="grey", marker=marker, label=str(name))
    axes.set(xlabel="agreement with the true atoms, MCC", ylabel="agreement over seeds, PW-MCC")
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    return figure


def conclude(table: pd.DataFrame) -> tuple[str, str]:
    """State the result in two sentences."""
    learnt = table[table["learner"] != "random"]
    planted, tree = learnt[learnt["data"] != HIERARCHY], learnt[learnt["data"] == HIERARCHY]
    rho = rank_correlation(planted["pwmcc"], planted["mcc"]).rho
    gap = (planted["pwmcc"] - planted["mcc"]).abs()
    chance = table[table["learner"] == "random"].groupby("data")[["pwmcc", "mcc"]].mean()
    return (
        "On planted codes, that agreement over seeds tracks the truth "
        f"{stands([rho.low > 0, gap.mean() < 0.05])}: over {len(planted)} pairs of data and learner Spearman's ρ is "
        f"{rho}, and PW-MCC differs from MCC by {gap.mean():.2f} on average and {gap.max():.2f} at most (means of "
        f"both, {_both(planted)}; random dictionaries have {chance['pwmcc'].min():.2f} to "
        f"{chance['pwmcc'].max():.2f}).",
        f"On hierarchical codes, that seeds agree more than they are true "
        f"{stands(tree['pwmcc'] > tree['mcc'])} (PW-MCC and MCC: {_both(tree)}; random dictionaries have "
        f"{chance['pwmcc'][HIERARCHY]:.2f}).",
    )


def _both(table: pd.DataFrame) -> str:
    """List PW-MCC and MCC of each learner, the means over data."""
    means = table.groupby("learner", sort=False)[["pwmcc", "mcc"]].mean()
    return ", ".join(f"{name} {row['pwmcc']:.2f} and {row['mcc']:.2f}" for name, row in means.iterrows())


if __name__ == "__main__":
    main()
