"""A planted brain: what encoding, decoding and inversion find where the truth is known.

    python -m experiments.planted_brain --scale cpu --images CIFAR10

500 simulated voxels see one layer of VGG19, each a patch of it, with noise of which half is shared between voxels, at
three noise ceilings. They are encoded and decoded as a brain's responses are; features of photographs and of images of
CIFAR-10 that were not trained on are inverted; and the encoding model is read like a layer of its own. Responses with
shuffled stimuli are the control. Run again to resume inversions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from experiments.shared.harness import Experiment, Readout, begin, sample_sizes, style
from experiments.summaries.planted_brain import conclude, draw, draw_examples
from readout.analysis.statistics import bootstrap_interval
from readout.data import Crops, ImageFolder, InputData, Photographs, load_samples
from readout.data.in_memory import ImagesInMemory
from readout.encoding import EncodingModel, Responses, decode, encode
from readout.encoding.decode import FEATURES, summarise, tangent_sizes
from readout.encoding.encode import RESIDUALS
from readout.encoding.stimuli import stimulus_features
from readout.external.collect import collect
from readout.external.shapes import as_features
from readout.extractors import VGG19, FeatureExtractor
from readout.perturbations import GaussianPerturbation, Perturbation, ResidualPerturbation
from readout.priors import DeepImagePrior
from readout.problems.identity import derive_seed
from readout.readouts import Identification
from readout.sweep.external import ExternalSweep
from readout.sweep.options import RunOptions
from readout.sweep.runtime import Runtime

SHARED = 5
"""Patterns of noise over all voxels, which make up half of its variance."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    weights: str | None
    size: int
    training_data: Callable[[Experiment[Any]], InputData]
    test_data: Callable[[Experiment[Any]], InputData]
    """Decoded beside the photographs."""
    photographs: tuple[str, ...]
    inverted: int
    """Images of ``test_data`` that are inverted beside the photographs."""
    layers: tuple[str, ...]
    """Layers to decode; voxels see ``layer``."""
    layer: str
    voxels: int
    ceilings: tuple[float, ...]
    repeats: int
    folds: int
    levels: tuple[float, ...]
    readout: Readout


def _cifar(split: str, limit: int, experiment: Experiment[Any]) -> InputData:
    return ImageFolder(f"{experiment.image_folder()}/{split}", 64, limit=limit)


SCALES = {
    "smoke": Scale(
        weights=None,
        size=32,
        training_data=lambda _: Crops(count=20, size=32, names=["chelsea"]),
        test_data=lambda _: Crops(count=4, size=32, names=["coffee"]),
        photographs=("astronaut",),
        inverted=1,
        layers=("conv1_2", "conv2_1"),
        layer="conv2_1",
        voxels=12,
        ceilings=(0.5, 0.9),
        repeats=2,
        folds=2,
        levels=(0.2, 0.8),
        readout=Readout(DeepImagePrior(filters=(4, 4)), 5e-3, 2),
    ),
    "cpu": Scale(
        weights="normalized",
        size=64,
        training_data=partial(_cifar, "train", 500),
        test_data=partial(_cifar, "test", 30),
        photographs=("astronaut", "coffee"),
        inverted=1,
        layers=("conv2_1", "conv3_1"),
        layer="conv3_1",
        voxels=500,
        ceilings=(0.3, 0.6, 0.9),
        repeats=4,
        folds=3,
        levels=(0.3, 0.6, 0.75, 0.9, 0.95),
        readout=Readout(DeepImagePrior(filters=(16, 32, 64, 128)), 5e-3, 150),
    ),
}


@dataclass(frozen=True)
class Brain:
    """Voxels that see patches of a layer."""

    weights: Tensor
    """Shape (dimensions, voxels); their signals have variance 1 over training stimuli."""
    offset: Tensor

    @classmethod
    def planted(cls, features: Tensor, voxels: int) -> "Brain":
        """Draw voxels: normal weights of channels within a Gaussian patch.

        Args:
            features: Shape (stimuli, channels, side, side).
            voxels: Number of voxels.
        """
        generator = torch.Generator().manual_seed(derive_seed("planted brain"))
        _, channels, side, _ = features.shape
        where = torch.arange(side) / side
        centres, width = torch.rand(2, voxels, 1, generator=generator), 0.15
        down, along = torch.exp(-((where - centres) ** 2) / (2 * width**2))
        mixed = torch.randn(voxels, channels, generator=generator)
        weights = torch.einsum("vc,vy,vx->cyxv", mixed, down, along).reshape(-1, voxels)
        signal = features.flatten(1) @ weights
        scale = signal.std(0)
        return cls(weights / scale, signal.mean(0) / scale)

    def respond(self, features: Tensor, names: Sequence[str], ceiling: float, repeats: int) -> Responses:
        """Return responses whose mean over repeats has a noise ceiling."""
        signal = features.flatten(1) @ self.weights - self.offset
        generator = torch.Generator().manual_seed(derive_seed("noise", *names[:1]))
        patterns = torch.Generator().manual_seed(derive_seed("patterns"))
        count, voxels = signal.shape
        own = torch.randn(count, repeats, voxels, generator=generator)
        shared = torch.randn(count, repeats, SHARED, generator=generator)
        common = shared @ torch.randn(SHARED, voxels, generator=patterns) / SHARED**0.5
        deviation = (repeats * (ceiling**-2 - 1) / 2) ** 0.5
        return Responses(names, (signal.unsqueeze(1) + deviation * (own + common)).double())


@dataclass(frozen=True)
class Stimuli:
    """Images and their features where voxels look."""

    names: Sequence[str]
    images: Tensor
    features: Tensor

    @classmethod
    def of(cls, data: Sequence[InputData], network: FeatureExtractor, layer: str) -> "Stimuli":
        """Load images and compute features."""
        samples = [load_samples(each, network) for each in data]
        images = torch.cat([each.stack([*each]) for each in samples])
        return cls([name for each in samples for name in each], images, stimulus_features(network, layer, images))


def main(arguments: Sequence[str] | None = None) -> None:
    """Plant brains, follow their responses to pictures and sizes, and write tables, figures and sentences."""
    experiment = begin("planted_brain", __doc__, SCALES, arguments)
    scale = experiment.scale
    network = VGG19(scale.weights)
    training = Stimuli.of([scale.training_data(experiment)], network, scale.layer)
    photographs = Photographs(scale.photographs, size=scale.size)
    test = Stimuli.of([photographs, scale.test_data(experiment)], network, scale.layer)
    brain = Brain.planted(training.features, scale.voxels)
    images = torch.cat([training.images, test.images])
    features_of = {layer: stimulus_features(network, layer, images) for layer in scale.layers}
    sizes = tangent_sizes(network, scale.layers, test.images[: len(scale.photographs)])
    found: dict[str, list[pd.DataFrame]] = {"encoded": [], "decoded": [], "inverted": [], "sizes": []}
    for ceiling in (*scale.ceilings, 0.0):  # 0: the control
        own, folder = ceiling or scale.ceilings[-1], experiment.folder / f"ceiling-{ceiling}"
        seen, unseen = (brain.respond(each.features, each.names, own, scale.repeats) for each in (training, test))
        if not ceiling:
            shuffled = torch.randperm(len(seen.names), generator=torch.Generator().manual_seed(0))
            seen = Responses(seen.names, seen.trials[shuffled])
        make = partial(encode, network, scale.layer, training.features, seen, folder, scale.folds)
        scores = kept(folder / "scores.csv", make)
        distances = [seen.standardised().noise_distance(repeats) for repeats in (1, scale.repeats)]
        noise = dict(zip(("one", "mean"), distances, strict=True))
        found["encoded"].append(scores.assign(planted=ceiling, **noise))
        layers = scale.layers if ceiling else (scale.layer,)
        make = partial(decode, features_of.__getitem__, layers, seen, folder, unseen)
        decoded = kept(folder / "decoded.csv", make)
        found["decoded"].append(summarise(decoded, sizes).assign(planted=ceiling))
        if ceiling:
            for layer in layers:
                found["inverted"].append(invert(experiment, network, layer, ceiling, test).assign(planted=ceiling))
            found["sizes"].append(identify(experiment, EncodingModel(network, str(folder)), ceiling, test))
    tables = {name: pd.concat(each, ignore_index=True) for name, each in found.items()}
    for name, table in tables.items():
        columns = [column for column in table if not str(column).startswith("trajectory")]
        experiment.store.write_text(f"{name}.csv", table[columns].to_csv(index=False))
    with style():
        figure = draw(tables)
        experiment.store.write_figure(
            "examples", draw_examples(experiment, tables["inverted"], test.images, test.names)
        )
    experiment.finish(tables["decoded"], figure, *conclude(tables))


def kept(path: Path, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return a table that ``make`` writes, read back from an earlier run if there was one."""
    return pd.read_csv(path) if path.exists() else make()


def chosen(scale: Scale, test: Stimuli) -> Mapping[str, Tensor]:
    """Return the images that are inverted."""
    count = len(scale.photographs) + scale.inverted
    return dict(zip(test.names[:count], test.images[:count], strict=True))


def invert(
    experiment: Experiment[Scale], network: FeatureExtractor, layer: str, ceiling: float, test: Stimuli
) -> pd.DataFrame:
    """Invert decoded features of a layer, as the command ``invert`` does."""
    scale, true = experiment.scale, chosen(experiment.scale, test)
    file = experiment.folder / f"ceiling-{ceiling}" / FEATURES / f"{layer}.npz"
    shape = network.shapes(test.images[:1])[layer]
    features = as_features(collect([file], network), {layer: shape}, network.name, test.images.shape[1:])
    sweep = ExternalSweep(RunOptions(output=experiment.sweep_store(f"inverted-{ceiling}").folder))
    runtime = Runtime({"max_steps": scale.readout.steps, "devices": 1})
    inversion, own = scale.readout.inversion(network), {name: features[name] for name in true}
    return sweep.run(inversion, own, tuple(test.images.shape[1:]), runtime, true)


def identify(experiment: Experiment[Scale], model: EncodingModel, ceiling: float, test: Stimuli) -> pd.DataFrame:
    """Return mean sizes of predicted responses, from which the image is identified, by noise."""
    residuals = str(experiment.folder / f"ceiling-{ceiling}" / RESIDUALS)
    noises: dict[str, Perturbation] = {
        "isotropic": GaussianPerturbation(),
        "residual": ResidualPerturbation(residuals, draw="covariance"),
    }
    images, rows = ImagesInMemory(dict(zip(test.names, test.images, strict=True))), []
    for noise, perturbation in noises.items():
        results = experiment.sweep(
            "identified",
            Identification(model),
            images,
            steps=1,
            layers="responses",
            levels=experiment.scale.levels,
            perturbation=perturbation,
        )
        size = bootstrap_interval(sample_sizes(results)["size"])
        row = {"size": size.value, "size_low": size.low, "size_high": size.high}
        rows.append({"planted": ceiling, "noise": noise, **row})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
