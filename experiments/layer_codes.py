"""Sparse codes of real layers: what do they explain, what does the network make of them, and how far do they move?

    python -m experiments.layer_codes --scale cpu

At layers of VGG19 (photographs), a BERT and a causal language model (texts), a sparse autoencoder is learnt. K latents
of its atoms are inferred by its encoder and by orthogonal matching pursuit. Beside them stand random atoms, with an
encoder that learns for them, and principal components. Each reads features of inputs that nothing was learnt from. What
share of their variance do K latents leave unexplained? If sums of atoms replace the feature, what share does the last
layer keep of what it loses to the mean feature? Then sizes of codes, and of single latents by their frequency.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from experiments.shared.docstrings import docstrings
from experiments.shared.harness import Experiment, begin, style
from experiments.shared.replaced import replaced
from experiments.shared.tiny_language import tiny_language_model
from experiments.summaries.layer_codes import conclude, draw
from readout.analysis.sizes import sizes_table
from readout.codes import (
    Dictionary,
    GaussianDictionary,
    LayerCoder,
    LearnedEncoder,
    OnePass,
    OrthogonalMatchingPursuit,
    TopKEncoder,
)
from readout.codes.layer_coder import as_rows
from readout.data import Crops, InputData, Photographs, SampleText, UniformNoise, load_samples
from readout.extractors import BERT, VGG19, FeatureExtractor, LanguageModel
from readout.learning import Activations, Learned, SparseAutoencoder
from readout.metrics import LossRecovered, correlation_distance
from readout.readouts import LayerCodes
from readout.representation import Estimator


@dataclass(frozen=True)
class Source:
    """A network, the layers whose codes are learnt, and its inputs."""

    make: Callable[[Path], FeatureExtractor]
    """Builds the network; takes a folder for files to keep."""
    layers: tuple[str, ...]
    last: str
    """Layer by which what follows is judged."""
    data: Callable[[Path], InputData]
    """Inputs to learn from; takes a folder for files to keep."""
    unseen: Callable[[], InputData]
    """Inputs to read."""
    measure: bool = True
    """Whether sizes of codes are measured, which texts have no sweep for."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    sources: Mapping[str, Source]
    active: int
    expansion: int
    """Latents per dimension."""
    rows: int
    steps: int
    levels: tuple[float, ...]


def _photographs() -> InputData:
    return Photographs(["astronaut", "chelsea", "coffee"], size=64)


SCALES = {
    "smoke": Scale(
        {
            "VGG19": Source(
                *(lambda _: VGG19(None), ("conv2_1",), "conv3_1", lambda _: Crops(count=24, size=32)),
                lambda: UniformNoise(2, (3, 32, 32)),
            ),
            "llama": Source(
                *(lambda folder: tiny_language_model("llama", folder), ("layer.0",), "final"),
                *(lambda folder: docstrings(folder, 12, 30), lambda: SampleText(2, 10), False),
            ),
        },
        *(4, 2, 2000, 60, (0, 0.1, 0.5)),
    ),
    "cpu": Scale(
        {
            "VGG19": Source(
                *(lambda _: VGG19(), ("conv1_2", "conv2_1", "conv3_1"), "conv5_4"),
                *(lambda _: Crops(count=500, size=64), _photographs),
            ),
            "MiniLM": Source(
                *(lambda _: BERT("minilm"), ("layer.2",), "layer.5"),
                *(lambda folder: docstrings(folder, 64, 700), lambda: SampleText(40, 32), False),
            ),
            "SmolLM2-135M": Source(
                *(lambda _: LanguageModel("smollm2"), ("layer.10",), "final"),
                *(lambda folder: docstrings(folder, 64, 700), lambda: SampleText(40, 32), False),
            ),
        },
        *(16, 2, 60_000, 800, (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)),
    ),
    "paper": Scale(
        {
            "VGG19": Source(
                *(lambda _: VGG19("imagenet"), ("conv1_2", "conv2_1", "conv3_1", "conv4_1", "conv5_1"), "conv5_4"),
                *(lambda _: Crops(count=20_000, size=224), lambda: Photographs(size=224)),
            )
        },
        *(32, 16, 10**7, 50_000, (0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)),
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn codes at every layer, and write tables, figure and sentences."""
    experiment = begin("layer_codes", __doc__, SCALES, arguments)
    rows, sizes, latents = [], [], []
    for name, source in experiment.scale.sources.items():
        extractor = source.make(experiment.folder)
        for layer in source.layers:
            readers, learned = learnt(experiment, name, source, extractor, layer)
            labels = {"model": name, "layer": layer}
            rows += [{**labels, **row} for row in judge(source, extractor, layer, readers)]
            latents.append(learned.latents.assign(**labels))
            if source.measure:
                for by in ("encoder", "pursuit"):
                    sizes.append(measure(experiment, source, extractor, layer, by, readers[by]).assign(**labels))
    tables = {"latents": pd.concat(latents, ignore_index=True), "sizes": pd.concat(sizes, ignore_index=True)}
    for name, table in tables.items():
        experiment.store.write_text(f"{name}.csv", table.to_csv(index=False))
    found = pd.DataFrame(rows)
    with style():
        figure = draw(found, **tables)
    experiment.finish(found, figure, *conclude(found, **tables))


def learnt(
    experiment: Experiment[Scale], name: str, source: Source, extractor: FeatureExtractor, layer: str
) -> tuple[dict[str, LayerCoder], Learned]:
    """Learn the dictionaries of a layer; return what reads its features by name, and the autoencoder's."""
    scale = experiment.scale
    data = Activations(extractor, layer, source.data(experiment.folder), rows=scale.rows)

    def autoencoder(kind: str, **atoms: Any) -> Learned:
        learner = SparseAutoencoder(
            TopKEncoder(scale.active), lr=3e-3, resample_every=max(1, scale.steps // 8), **atoms
        )
        return experiment.learn(f"{name} {layer} {kind}", learner, data, scale.steps)

    rows = data.load(experiment.folder / f"{name} {layer} trained", torch.device("cpu"))
    dimensions = rows.training.shape[1]
    trained = autoencoder("trained", latents=scale.expansion * dimensions)
    random = autoencoder("random", dictionary=GaussianDictionary(scale.expansion * dimensions, dimensions))
    own = trained.dictionary
    sample = rows.standardised(rows.training, slice(0, 20_000))
    components = Dictionary(torch.linalg.eigh(sample.T @ sample)[1].T.flip(0), own.mean, own.scale)

    def pursuit(dictionary: Dictionary) -> LayerCoder:
        return LayerCoder(dictionary, OrthogonalMatchingPursuit(scale.active), scale.active)

    return {
        "encoder": LayerCoder(own, LearnedEncoder()),
        "pursuit": pursuit(own),
        "random atoms, encoder": LayerCoder(random.dictionary, LearnedEncoder()),
        "random atoms, pursuit": pursuit(random.dictionary),
        "principal components": LayerCoder(components, OnePass(scale.active, nonnegative=False)),
    }, trained


@torch.no_grad()
def judge(
    source: Source, extractor: FeatureExtractor, layer: str, readers: Mapping[str, LayerCoder]
) -> list[dict[str, Any]]:
    """Return what codes explain of the features of unseen inputs and what the network's last layer keeps, by reader."""
    samples = [sample.input for sample in load_samples(source.unseen(), extractor).values()]
    extractor.lay_out(torch.device("cpu"))
    causal = isinstance(extractor, LanguageModel) and extractor.causal
    mean = next(iter(readers.values())).dictionary.mean  # of the layer, and so of all its dictionaries
    errors, total = dict.fromkeys(readers, 0.0), 0.0
    kept, entropy = ({name: LossRecovered() for name in readers} for _ in range(2))
    for x in samples:
        given = extractor.embed(x.unsqueeze(0)) if isinstance(extractor, LanguageModel) else x.unsqueeze(0)
        feature, clean = (extractor.extract(given, each) for each in (layer, source.last))
        with replaced(extractor, layer, partial(_constant, mean=mean)):
            ablated = extractor.extract(given, source.last)
        total += float((as_rows(feature) - mean).square().sum())
        for name, reader in readers.items():
            errors[name] += float((as_rows(reader(feature)) - as_rows(feature)).square().sum())
            with replaced(extractor, layer, reader):
                coded = extractor.extract(given, source.last)
            distances = (correlation_distance(each, clean) for each in (coded, ablated))
            kept[name].update(torch.zeros(1), *distances)
            if causal:
                entropy[name].update(*(_entropy(extractor, last, x) for last in (clean, coded, ablated)))
    return [
        {
            "reader": name,
            "unexplained": errors[name] / total,
            "kept": float(kept[name].compute()),
            "entropy_kept": float(entropy[name].compute()) if causal else float("nan"),
        }
        for name in readers
    ]


def measure(
    experiment: Experiment[Scale], source: Source, extractor: FeatureExtractor, layer: str, by: str, reader: LayerCoder
) -> pd.DataFrame:
    """Return sizes of a layer's codes, one row per input."""
    readout = LayerCodes(extractor, reader.dictionary, reader.coder, reader.iterations)
    results = experiment.sweep(
        f"{layer} {by}", readout, source.unseen(), steps=1, layers=[layer], levels=experiment.scale.levels
    )
    sizes = sizes_table(results, Estimator.CROSSING)
    return sizes[["sample", "representation_size"]].assign(reader=by)


def _constant(feature: Tensor, mean: Tensor) -> Tensor:
    """Replace every position of a feature by the mean."""
    return (mean.view(-1, 1, 1) if feature.ndim > 3 else mean).expand_as(feature)


def _entropy(extractor: FeatureExtractor, last: Tensor, ids: Tensor) -> Tensor:
    """Return the cross-entropy of the next tokens, with output weights tied to the embedding."""
    assert isinstance(extractor, LanguageModel)
    logits = last[0, :-1] @ extractor.embedding.weight.T
    return cross_entropy(logits, ids[1:]).unsqueeze(0)


if __name__ == "__main__":
    main()
