"""Do few latents of a dictionary tell digits apart, and is each latent active for digits that are alike?

    python -m experiments.digits_latents --scale cpu

learns dictionaries of the pixels of scikit-learn's digits, and of the dense layer of a network that names them, and
probes the codes of other digits: accuracy of a classifier that sees k latents alone, and machine interpretability, for
which two digits are alike if they are of one class. Beside them are codes on random atoms, principal components, random
projections, and the units themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from experiments.shared.claims import stands
from experiments.shared.dictionaries import infer
from experiments.shared.digits import SMOKE, DigitTask
from experiments.shared.drawing import COLORS, dots, name_columns, plain_log
from experiments.shared.harness import Experiment, begin, style
from readout.analysis.statistics import bootstrap_interval, paired_difference
from readout.codes import Dictionary, GaussianDictionary, TopKEncoder
from readout.data import Digits
from readout.extractors import FeatureExtractor
from readout.learning import Activations, AlternatingLearner, DictionaryLearner, SparseAutoencoder
from readout.metrics import MachineInterpretability, k_sparse_probe

BESIDE = ("random atoms", "PCA", "random projections", "units")
"""Codes that are not learnt, or not sparse."""

QUANTILE = 0.02
"""Share of digits on either side of a task: fewer than those that activate a sparse latent."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    task: DigitTask
    latents: tuple[int, ...]
    steps: int
    """Training steps of the autoencoder; the alternating one takes a twentieth."""
    ks: tuple[int, ...]
    splits: int
    """Random halves of the other digits, one to fit a classifier, one to test it."""
    explanations: int = 5


SCALES = {
    "smoke": Scale(SMOKE, (16,), 100, (1, 8), 2),
    "cpu": Scale(DigitTask(images=900, epochs=20), (16, 128), 2000, (1, 2, 4, 8, 16), 10),
    "paper": Scale(DigitTask(images=900, epochs=20), (16, 128, 512), 10_000, (1, 2, 4, 8, 16, 32), 30),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn dictionaries, probe codes, and write tables, figure and sentences."""
    experiment = begin("digits_latents", __doc__, SCALES, arguments)
    network = experiment.scale.task.network(experiment)
    pixels = FeatureExtractor(nn.Sequential(nn.Flatten()), {"pixels": "0"})
    known, others = Digits(network.trained_on), Digits()
    others.prepare_for(network)
    accuracies, scores = [], []
    for extractor, layer in ((pixels, "pixels"), (network, "dense")):
        codes = infer_all(experiment, extractor, layer, known, others)
        accuracies.append(probe(experiment.scale, codes, others.labels()).assign(layer=layer))
        scores.append(interpret(experiment.scale, codes, others.labels()).assign(layer=layer))
    table, interpretability = (pd.concat(tables, ignore_index=True) for tables in (accuracies, scores))
    experiment.store.write_text("interpretability.csv", interpretability.to_csv(index=False))
    with style():
        figure = draw(table, interpretability)
    experiment.finish(table, figure, *conclude(table, interpretability))


def infer_all(
    experiment: Experiment[Scale], extractor: FeatureExtractor, layer: str, known: Digits, others: Digits
) -> dict[str, Tensor]:
    """Return codes of the other digits by name, shape (digits, latents); what is learnt is learnt from the known."""
    scale = experiment.scale
    data = Activations(extractor, layer, known)
    seen, features = (extractor.extract(digits.images(), layer).detach() for digits in (known, others))
    codes = {}
    for latents in scale.latents:
        alternating = AlternatingLearner(latents, penalty_weight=0.5)
        autoencoder = SparseAutoencoder(TopKEncoder(4), latents, batch_size=128)
        learners: list[tuple[str, DictionaryLearner, int]] = [
            ("alternating", alternating, scale.steps // 20),
            ("TopK", autoencoder, scale.steps),
        ]
        for name, how, steps in learners:
            found = experiment.learn(f"{layer}-{name}-{latents}", how, data, steps).dictionary
            codes[f"{name}, {latents}"] = infer(found, how.coder(), features)
    random, standardised = GaussianDictionary(latents, found.dimensions).atoms, found.standardise(features)
    codes["random atoms"] = infer(Dictionary(random, found.mean, found.scale), alternating.coder(), features)
    components = torch.linalg.svd(found.standardise(seen), full_matrices=False)[2]
    codes["PCA"] = standardised @ components.T
    codes["random projections"] = standardised @ random.T
    codes["units"] = standardised
    return codes


def probe(scale: Scale, codes: dict[str, Tensor], labels: Tensor) -> pd.DataFrame:
    """Return the accuracy from k latents, one row per (codes, k, split)."""
    rows = [
        {"codes": name, "k": k, "split": split, "accuracy": k_sparse_probe(each, labels, k, seed=split)}
        for name, each in codes.items()
        for k in scale.ks
        for split in range(scale.splits)
    ]
    return pd.DataFrame(rows)


def interpret(scale: Scale, codes: dict[str, Tensor], labels: Tensor) -> pd.DataFrame:
    """Return machine interpretability by class and the share of digits that are active, one row per (codes, latent).

    Latents that are never active are left out. A tie, where both queries are of no class that explains, counts half.
    """
    same = (labels.unsqueeze(1) == labels).float()
    metric = MachineInterpretability(scale.explanations, quantile=QUANTILE, sharpness=20)
    tables = []
    for name, each in codes.items():
        live = each[:, each.amax(0) > each.amin(0)]
        active = (live != 0).float().mean(0)
        tables.append(pd.DataFrame({"codes": name, "score": metric.score(live, same), "active": active}))
    return pd.concat(tables, ignore_index=True)


def draw(table: pd.DataFrame, interpretability: pd.DataFrame) -> Figure:
    """Plot accuracy against k, the mean over splits, and interpretability, one dot per latent, for each layer."""
    figure = Figure(figsize=(17, 4.2), layout="constrained")
    panels = figure.subplots(1, 4)
    for axes, (layer, own) in zip(panels, table.groupby("layer", sort=False), strict=False):
        for color, (name, group) in zip(COLORS, own.groupby("codes", sort=False), strict=False):
            means = group.groupby("k")["accuracy"].mean()
            axes.plot(means.index, means, "o-", ms=4, color=color, label=str(name))
        axes.set(xlabel="latents that the classifier sees, k", ylabel="accuracy", title=str(layer), ylim=(0, 1.02))
        plain_log(axes)
        axes.set_xticks(own["k"].unique())
    figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside right upper")
    for axes, (layer, own) in zip(panels[2:], interpretability.groupby("layer", sort=False), strict=True):
        for place, (_, group) in enumerate(own.groupby("codes", sort=False)):
            dots(axes, place, group["score"], COLORS[place])
        axes.axhline(0.5, color="grey", ls=":", lw=1)
        axes.set(ylabel="machine interpretability by class", title=str(layer), ylim=(0.3, 1.02))
        name_columns(axes, list(own["codes"].unique()), rotation=60)
    return figure


def conclude(table: pd.DataFrame, interpretability: pd.DataFrame) -> tuple[str, ...]:
    """State the result in one sentence per layer on accuracy, and one on interpretability."""
    said, learnt = [], [name for name in table["codes"].unique() if name not in BESIDE]
    for layer, own in table.groupby("layer", sort=False):
        accuracy = own.pivot(index="split", columns=["codes", "k"], values="accuracy")
        ks = own["k"].unique()
        better = [paired_difference(accuracy[name, k], accuracy["PCA", k]).mean.low > 0 for name in learnt for k in ks]
        means = "; ".join(
            f"{name} {', '.join(f'{accuracy[name, k].mean():.2f}' for k in ks)}" for name in own["codes"].unique()
        )
        said.append(
            f"At {layer}, that few latents of learnt codes tell digits better than as many principal components "
            f"{stands(better)} ({sum(better)} of {len(better)} pairs of codes and k); mean accuracy over "
            f"{own['split'].nunique()} splits at k = {', '.join(map(str, ks))}: {means}."
        )
    found = {
        key: bootstrap_interval(own["score"]) for key, own in interpretability.groupby(["layer", "codes"], sort=False)
    }
    layers, names = interpretability["layer"].unique(), interpretability["codes"].unique()
    above = [found[layer, name].low > found[layer, "PCA"].high for layer in layers for name in learnt]
    listed = "; ".join(f"{layer}: {', '.join(f'{name} {found[layer, name]}' for name in names)}" for layer in layers)
    return (*said, f"That their latents are more interpretable {stands(above)}: mean score by class, {listed}.")


if __name__ == "__main__":
    main()
