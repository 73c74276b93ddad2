"""Does a child's atom absorb its parent's, and which learners avoid it?

    python -m experiments.absorption --scale cpu

learns dictionaries from hierarchical codes, in which a child is active only with its parent, on orthogonal atoms. With
one parent per code, theory says what a penalty on ‖s‖₁ does: an atom 'parent + child' explains both by one latent, and
the dictionary of such atoms reaches the least objective there is (:func:`least`), which the true dictionary misses.
There the parent's latent is silent whenever its child is active. The second part learns a tree with ReLU, TopK and
Matryoshka autoencoders, several seeds each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import normalize

from experiments.shared.claims import stands
from experiments.shared.dictionaries import Tree, dictionary_mcc, infer
from experiments.shared.drawing import COLORS, dots, name_columns
from experiments.shared.harness import Experiment, begin, style
from readout.analysis.statistics import bootstrap_interval, paired_difference
from readout.codes import FISTA, Coder, Dictionary, OrthonormalDictionary, ReLUEncoder, Superposition, TopKEncoder
from readout.learning import Activations, AlternatingLearner, DictionaryLearner, SparseAutoencoder
from readout.metrics import FVU, L0, absorption

PENALTY = 0.1
TEST = 2000
"""Codes that dictionaries are judged by."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    pairs: Callable[..., Tree]
    """Codes with one parent each."""
    tree: Callable[..., Tree]
    steps: int
    """Training steps of autoencoders; alternating ones take a twentieth."""
    seeds: int


SCALES = {
    "smoke": Scale(
        pairs=partial(Tree, count=400, parents=2, children=1),
        tree=partial(Tree, count=400, parents=4, children=2, active=2),
        steps=100,
        seeds=2,
    ),
    "cpu": Scale(
        pairs=partial(Tree, count=2000, parents=2, children=1),
        tree=partial(Tree, count=4000, parents=8, children=3, active=2),
        steps=1500,
        seeds=5,
    ),
    "paper": Scale(
        pairs=partial(Tree, count=2000, parents=2, children=1),
        tree=partial(Tree, count=200_000, parents=128, children=3, active=8),
        steps=50_000,
        seeds=5,
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn pairs and the tree, and write tables, figure and sentences."""
    experiment = begin("absorption", __doc__, SCALES, arguments)
    pairs = measure(experiment, "pairs", experiment.scale.pairs)
    tree = measure(experiment, "tree", experiment.scale.tree)
    table = pd.concat([pairs, tree], ignore_index=True)
    with style():
        figure = draw(table)
    experiment.finish(table, figure, *conclude(table))


def learners(data: Tree, seed: int) -> dict[str, DictionaryLearner]:
    """Return the learners by name; a Matryoshka's first latents are as many as there are parents."""
    latents, most = len(data.parent_of), 2 * data.active
    autoencoder = partial(
        SparseAutoencoder, latents=latents, penalty_weight=PENALTY, lr=3e-3, resample_every=250, seed=seed
    )
    # rows of pairs are of four kinds, and first atoms are rows: most starts draw one kind twice
    starts, used = (64, 200) if data.active == 1 else (4, 2000)
    return {
        "alternating": AlternatingLearner(latents, PENALTY, restarts=starts, most_rows=used, seed=seed),
        "ReLU": autoencoder(ReLUEncoder()),
        "TopK": autoencoder(TopKEncoder(most)),
        "Matryoshka": autoencoder(TopKEncoder(most), prefixes=[data.parents]),
    }


def measure(experiment: Experiment[Scale], name: str, codes: Callable[..., Tree]) -> pd.DataFrame:
    """Return one row per (learner, seed), and those of the true dictionary and of 'parent + child' by FISTA."""
    scale = experiment.scale
    data, test = codes(), codes(count=TEST, seed=1)
    truth = OrthonormalDictionary(len(data.parent_of))
    activations = Activations(Superposition(truth), "superposition", data, standardise="scale")
    scale_of_rows = float(truth.decode(data.codes).square().mean().sqrt())
    given = {"true atoms": truth.atoms, "parent + child": absorbing(truth.atoms, data.parent_of)}
    rows = []
    for seed in range(scale.seeds):
        for learner, how in learners(data, seed).items():
            steps = scale.steps // 20 if learner == "alternating" else scale.steps
            found = experiment.learn(f"{name}-{learner}-{seed}", how, activations, steps).dictionary
            rows.append({"learner": learner, "seed": seed, **judge(truth, test, found, how.coder())})
    for learner, atoms in given.items():
        same = Dictionary(atoms, scale=scale_of_rows)
        rows.append({"learner": learner, "seed": 0, **judge(truth, test, same, FISTA(PENALTY))})
    return pd.DataFrame(rows).assign(data=name, children=data.children, share=data.share)


def absorbing(atoms: Tensor, parent_of: Sequence[int]) -> Tensor:
    """Return the dictionary in which each child's atom has become 'parent + child', shape (N, M)."""
    parents = torch.tensor(parent_of)
    return normalize(atoms + (parents >= 0).unsqueeze(1) * atoms[parents], dim=1)


def least(features: Tensor) -> Tensor:
    """Return a lower bound of the objective ½‖D s − h‖² + λ‖s‖₁ over all unit atoms and codes, shape (rows,).

    ‖D s‖ ≤ ‖s‖₁, so it is at least min (‖h‖ − r)² / 2 + λ r = λ ‖h‖ − λ² / 2, which an atom along h reaches.
    """
    bound: Tensor = PENALTY * features.norm(dim=1) - PENALTY**2 / 2
    return bound


def judge(truth: Dictionary, test: Tree, found: Dictionary, coder: Coder) -> dict[str, float]:
    """Return absorption, the mean over parents, with L0, FVU, the dictionary's MCC and the objective over its bound."""
    features = truth.decode(test.codes)
    codes, target = infer(found, coder, features), found.standardise(features)
    active, unexplained = L0(), FVU()
    active.update(codes)
    unexplained.update(target, found.decode(codes))
    loss = (found.decode(codes) - target).square().sum(1) / 2 + PENALTY * codes.sum(1)
    return {
        "absorption": float(absorption(test.codes, codes, truth.atoms, found.atoms, test.parent_of).nanmean()),
        "l0": float(active.compute()),
        "fvu": float(unexplained.compute()),
        "mcc": dictionary_mcc(truth.atoms, found.atoms),
        "objective": float(loss.mean()),
        "least": float(least(target).mean()),
    }


def draw(table: pd.DataFrame) -> Figure:
    """Plot absorption by learner with its largest possible value, for pairs and for the tree, and L0 and FVU."""
    figure = Figure(figsize=(15, 4), layout="constrained")
    first, second, third = figure.subplots(1, 3, width_ratios=(1, 1, 1))
    for axes, (name, group) in zip((first, second), table.groupby("data", sort=False), strict=True):
        for place, (_, own) in enumerate(group.groupby("learner", sort=False)):
            dots(axes, place, own["absorption"], COLORS[place])
        axes.axhline(group["share"].iloc[0], color="grey", ls="--", lw=1, label="whenever a child is active")
        axes.set(ylabel="share of parents' firings absorbed", title=str(name), ylim=(-0.02, None))
        name_columns(axes, list(group["learner"].unique()), rotation=30)
        axes.legend(frameon=False, fontsize=8)
    for place, (learner, own) in enumerate(table[table["data"] == "tree"].groupby("learner", sort=False)):
        third.scatter(own["l0"], own["fvu"], s=24, color=COLORS[place], label=str(learner))
    third.set(xlabel="active latents per code, L0", ylabel="variance unexplained, FVU", title="tree")
    third.legend(frameon=False, fontsize=8)
    return figure


def conclude(table: pd.DataFrame) -> tuple[str, str]:
    """State the result in two sentences."""
    pairs, tree = (table[table["data"] == name] for name in ("pairs", "tree"))
    means = pairs.groupby("learner", sort=False)[["absorption", "objective", "least"]].mean()
    above = (means["objective"] / means["least"] - 1).round(3) + 0.0  # not −0 by rounding
    silent = means["absorption"] / pairs["share"].iloc[0]
    listed = ", ".join(f"{name} {silent[name]:.0%} at {above[name]:+.1%}" for name in means.index)
    learnt = silent[["alternating", "ReLU"]] > 0.9
    by_seed = tree.pivot(index="seed", columns="learner", values="absorption")
    gains = {name: paired_difference(by_seed["Matryoshka"], by_seed[name]).mean for name in ("ReLU", "TopK")}
    fewer = [gain.high < 0 for gain in gains.values()]
    shares = [
        f"{name} {bootstrap_interval(own['absorption'])}, L0 {own['l0'].mean():.1f}, FVU {own['fvu'].mean():.3f}"
        for name, own in tree.groupby("learner", sort=False)
    ]
    differences = " and ".join(f"{gain} against {name}" for name, gain in gains.items())
    return (
        f"In pairs, that a penalty on ‖s‖₁ learns 'parent + child' {stands(learnt)}: share of the child's firings at "
        f"which the parent's latent is silent, and the objective over its lower bound: {listed}.",
        f"In the tree, that a Matryoshka autoencoder absorbs less {stands(fewer)} "
        f"({differences}, paired by seed); share of parents' firings that are absorbed: {'; '.join(shares)}.",
    )


if __name__ == "__main__":
    main()
