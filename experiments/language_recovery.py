"""Token error rate against d_H by layer and language model, read by token logits and token by token.

    python -m experiments.language_recovery --scale cpu

Causal models are read in both ways, from the same perturbed features: tokens that a search finds and gradient descent
on logits does not are still in the feature. Chance level is the error rate of texts recovered from other texts'
features. Run again to resume.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from experiments.shared.curves import crossings, labelled_sizes
from experiments.shared.harness import Experiment, Readout, begin, style
from experiments.shared.tiny_language import tiny_language_model
from experiments.summaries.language_recovery import compare_with_chance, conclude, draw
from readout.data import C4, InputData, SampleText, load_samples
from readout.extractors import BERT, GPT2, OPT, LanguageModel
from readout.priors import TokenLogits
from readout.readouts import FeatureInversion, TextInversion, TokenSearch

SEARCH_STEPS = 512
"""Exceeds the positions of any text; each step reads one."""


@dataclass(frozen=True)
class Model:
    """A language model, its layers and its texts."""

    make: Callable[[Path], LanguageModel]
    """Builds the model; takes a folder for files to keep."""
    layers: str | tuple[str, ...]
    data: Callable[[], InputData]


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    models: Mapping[str, Model]
    levels: tuple[float, ...]
    steps: int
    candidates: int | None
    """Number of tokens that the search tries per position."""


def _hub(kind: Callable[..., LanguageModel], weights: str) -> Model:
    return Model(lambda folder: kind(weights), "depth:0,0.25,0.5,0.75,1.0", partial(C4, limit=64, max_tokens=256))


SCALES = {
    "smoke": Scale(
        models={
            kind: Model(partial(tiny_language_model, kind), ("embeddings", "layer.1"), partial(SampleText, 3, 10))
            for kind in ("bert", "llama")
        },
        levels=(0, 0.3, 0.8),
        steps=60,
        candidates=None,
    ),
    "cpu": Scale(
        models={
            "MiniLM": Model(
                lambda folder: BERT("minilm"), ("layer.0", "layer.2", "layer.3", "layer.5"), partial(SampleText, 6, 24)
            ),
            "SmolLM2-135M": Model(
                lambda folder: LanguageModel("smollm2"),
                ("embeddings", "layer.0", "layer.5"),
                partial(SampleText, 3, 12),
            ),
        },
        levels=(0, 0.3, 0.6),
        steps=200,
        candidates=1024,
    ),
    "paper": Scale(
        models={
            "BERT": _hub(BERT, "google-bert/bert-base-uncased"),
            **{f"GPT-2 {size}": _hub(GPT2, f"openai-community/gpt2-{size}") for size in ("medium", "large", "xl")},
            "GPT-2 small": _hub(GPT2, "openai-community/gpt2"),
            **{f"OPT-{size}": _hub(OPT, f"facebook/opt-{size}") for size in ("125m", "350m", "1.3b", "2.7b", "6.7b")},
        },
        levels=(0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99),
        steps=10_000,
        candidates=2048,
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read every model in both ways, and write tables, figure and sentences."""
    experiment = begin("language_recovery", __doc__, SCALES, arguments)
    results = pd.concat([measure(experiment, name) for name in experiment.scale.models], ignore_index=True)
    by = ["network", "readout"]
    sizes = crossings(results, ["distance"], results["threshold"].iloc[0], [*by, "layer", "sample"])
    sizes = sizes.rename(columns={"distance": "size"}).merge(
        labelled_sizes(results, by)[[*by, "layer", "sample", "max", "lower_bound"]], on=[*by, "layer", "sample"]
    )
    sizes = sizes.merge(results.drop_duplicates([*by, "layer"])[[*by, "layer", "depth", "width", "vocabulary"]])
    chance = compare_with_chance(results)
    for name, table in (("sizes", sizes), ("chance", chance)):
        experiment.store.write_text(f"{name}.csv", table.to_csv(index=False))
    with style():
        figure = draw(results, sizes)
    dropped = ("trajectory", "true_tokens", "recovered_tokens", "wrong_tokens")
    table = results[[name for name in results.columns if not name.startswith(dropped)]]
    experiment.finish(table, figure, *conclude(results, sizes, chance))


def measure(experiment: Experiment[Scale], name: str) -> pd.DataFrame:
    """Return one model's results, one row per problem, with the error rate from other texts' features."""
    scale, model = experiment.scale, experiment.scale.models[name]
    extractor = model.make(experiment.folder / "models" / name)
    logits = Readout(TokenLogits(), lr=0.1, steps=scale.steps).inversion(extractor, TextInversion, record_every=50)
    inversions: dict[str, tuple[FeatureInversion, int]] = {"logits": (logits, scale.steps)}
    if extractor.causal:
        inversions["search"] = (TokenSearch(extractor, candidates=scale.candidates), SEARCH_STEPS)
    tables = []
    for readout, (inversion, steps) in inversions.items():
        sweep = f"{readout}-{name.replace(' ', '_')}"
        results = experiment.sweep(
            sweep, inversion, model.data(), steps=steps, layers=model.layers, levels=scale.levels
        ).assign(readout=readout)
        texts = {text: sample.input for text, sample in load_samples(model.data(), extractor).items()}
        scored = {text: ~extractor.is_special(ids) for text, ids in texts.items()}
        recovered = experiment.sweep_store(sweep).load_recovered(results["key"])
        tables.append(results.assign(chance=chance_levels(results, texts, scored, recovered)))
    table = pd.concat(tables, ignore_index=True)
    depths = {layer: place / max(1, len(extractor.depths) - 1) for place, layer in enumerate(extractor.depths)}
    return table.assign(
        network=name,
        depth=table["layer"].map(depths),
        width=extractor.embedding.embedding_dim,
        vocabulary=extractor.embedding.num_embeddings,
    )


def chance_levels(
    results: pd.DataFrame, texts: Mapping[str, Tensor], scored: Mapping[str, Tensor], recovered: Mapping[str, Tensor]
) -> "pd.Series[float]":
    """Return the chance level of each problem: the mean error rate of the other recovered texts against its text.

    The other texts are those recovered at the same layer, level and draw.

    Args:
        results: One row per problem.
        texts: True token ids by sample, shape (positions,).
        scored: True at positions that count, same shape.
        recovered: Recovered token ids by key; texts are compared up to the end of the shorter one.
    """
    chance: dict[Any, float] = {}
    for _, group in results.groupby(["layer", "level", "draw"], sort=False):
        for index, sample in group["sample"].items():
            others = [
                recovered[key] for key, other in zip(group["key"], group["sample"], strict=True) if other != sample
            ]
            wrong = [_error_rate(other, texts[sample], scored[sample]) for other in others]
            chance[index] = float(np.mean(wrong)) if wrong else np.nan
    return pd.Series(chance, dtype=float)


def _error_rate(read: Tensor, true: Tensor, counts: Tensor) -> float:
    length = min(len(read), len(true))
    wrong = (read[:length] != true[:length])[counts[:length]]
    return float(torch.mean(wrong.float()))


if __name__ == "__main__":
    main()
