"""Does a sparse code in front of a readout let features move farther before their input is lost?

    python -m experiments.denoised_inversion --scale cpu

A code is a denoiser: the sum of atoms that it stands for has no noise but along them. In a linear network whose inputs
are sums of few atoms, the gain is known: d/D of the noise becomes K/D as long as the support is right. Then photographs
are recovered from features of VGG19, with and without the dictionary of a sparse autoencoder of the layer in front. Run
again to resume.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from experiments.shared.claims import stands
from experiments.shared.curves import crossing
from experiments.shared.drawing import COLORS
from experiments.shared.harness import Experiment, Readout, begin, style
from readout.codes import (
    Dictionary,
    GaussianDictionary,
    LayerCoder,
    LearnedEncoder,
    OrthogonalMatchingPursuit,
    SparseCodes,
    Superposition,
    TopKEncoder,
)
from readout.data import Crops, InputData, Photographs, Sample
from readout.extractors import VGG19, OrthonormalLinear
from readout.learning import Activations, SparseAutoencoder
from readout.metrics import CorrelationDistance
from readout.priors import Pixels
from readout.readouts import OnePassReadout
from readout.representation import linear_distance, linear_size

THRESHOLD = 0.1

SHADES = {
    "none": (COLORS[0], "as it is"),
    "encoder": (COLORS[1], "denoised by the encoder"),
    "pursuit": (COLORS[2], "denoised by pursuit"),
}
"""Colour and label of each denoiser."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    inputs: int
    """Of the linear network."""
    levels: tuple[float, ...]
    weights: str | None
    layers: tuple[str, ...]
    size: int
    steps: int
    """Of an inversion."""
    crops: int
    training_steps: int
    vgg_levels: tuple[float, ...]
    active: int = 16
    expansion: int = 2
    dimensions: int = 128
    features: int = 256
    atoms: int = 256
    sparsity: int = 6
    """K of the linear network's inputs."""


FINE = tuple(round(0.025 * step, 3) for step in range(38))
SCALES = {
    "smoke": Scale(30, FINE[::2], None, ("conv2_1",), 16, 20, 30, 60, (0, 0.5)),
    "cpu": Scale(200, FINE, "normalized", ("conv1_2", "conv3_1"), 64, 150, 500, 800, (0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8)),
    "paper": Scale(
        *(1000, FINE, "imagenet", ("conv1_2", "conv2_1", "conv3_1", "conv4_1"), 224, 1000, 20_000, 50_000),
        (0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    ),
}


class LeastSquares(OnePassReadout):
    """The input of a linear network that is nearest to a feature."""

    def read(self, feature: Tensor) -> Tensor:
        """See :class:`OnePassReadout`."""
        return feature @ next(self.extractor.network.parameters())


class Sums(InputData):
    """Inputs that are sums of K of the given atoms, with random signs."""

    def __init__(self, atoms: Dictionary, count: int, active: int) -> None:
        super().__init__()
        self.atoms, self.codes = atoms, SparseCodes(count, active, nonnegative=False)
        self.codes.prepare_for(Superposition(atoms))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int) -> Sample:
        name, code, _ = self.codes[index]
        return Sample(name, self.atoms.decode(code))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both networks with and without a denoiser, and write tables, figure and sentences."""
    experiment = begin("denoised_inversion", __doc__, SCALES, arguments)
    curves = pd.concat([linear(experiment), *(vgg(experiment, layer) for layer in experiment.scale.layers)])
    curves = curves.reset_index(drop=True)
    with style():
        figure = draw(curves, experiment.scale)
    experiment.finish(curves, figure, *conclude(curves, experiment.scale))


def linear(experiment: Experiment[Scale]) -> pd.DataFrame:
    """Return the mean d_X by level of the linear network, read directly and after pursuit of K atoms."""
    scale = experiment.scale
    network = OrthonormalLinear((scale.dimensions,), scale.features / scale.dimensions, mean=0)
    atoms = GaussianDictionary(scale.atoms, scale.dimensions)
    weight = next(network.network.parameters())
    of_features = Dictionary(atoms.atoms @ weight.T)
    pursuit = OrthogonalMatchingPursuit(scale.sparsity, nonnegative=False)
    denoisers = {"none": None, "pursuit": LayerCoder(of_features, pursuit, scale.sparsity)}
    data = Sums(atoms, scale.inputs, scale.sparsity)
    readout = LeastSquares(network, CorrelationDistance())
    common: dict[str, Any] = {"steps": 1, "layers": "all", "levels": scale.levels}
    return pd.concat(
        [
            mean_curve(experiment.sweep(f"linear {name}", readout, data, denoiser=denoiser, **common)).assign(
                network="linear", denoiser=name
            )
            for name, denoiser in denoisers.items()
        ]
    )


def vgg(experiment: Experiment[Scale], layer: str) -> pd.DataFrame:
    """Return the mean d_X by level of photographs from a layer of VGG19, by pixels with total variation."""
    scale = experiment.scale
    extractor = VGG19(scale.weights)
    data = Activations(extractor, layer, Crops(count=scale.crops, size=scale.size), rows=60_000)
    width = extractor.shapes(extractor.example(scale.size))[layer][0]
    learner = SparseAutoencoder(TopKEncoder(scale.active), latents=scale.expansion * width, lr=3e-3, resample_every=100)
    own = experiment.learn(f"learnt/{layer}", learner, data, scale.training_steps).dictionary
    denoisers: Mapping[str, LayerCoder | None] = {
        "none": None,
        "encoder": LayerCoder(own, LearnedEncoder()),
        "pursuit": LayerCoder(own, OrthogonalMatchingPursuit(scale.active), scale.active),
    }
    readout = Readout(Pixels(total_variation=0.02), lr=0.05, steps=scale.steps, weight_decay=0)
    common: dict[str, Any] = {"steps": scale.steps, "layers": [layer], "levels": scale.vgg_levels}
    found = [
        mean_curve(
            experiment.sweep(
                f"{layer} {name}",
                readout.inversion(extractor, record_every=scale.steps, metrics=[]),
                Photographs(size=scale.size),
                denoiser=denoiser,
                **common,
            )
        ).assign(network=layer, denoiser=name)
        for name, denoiser in denoisers.items()
    ]
    return pd.concat(found)


def mean_curve(results: pd.DataFrame) -> pd.DataFrame:
    """Return the mean d_X and its standard error by level."""
    grouped = results.groupby("level")["distance"]
    return pd.DataFrame({"distance": grouped.mean(), "error": grouped.sem()}).reset_index()


def draw(curves: pd.DataFrame, scale: Scale) -> Figure:
    """Plot d_X by level with and without a denoiser, and the closed forms of the linear network."""
    networks = list(dict.fromkeys(curves["network"]))
    figure = Figure(figsize=(4.2 * len(networks), 3.8), layout="constrained")
    panels = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    for axes, network in zip(panels, networks, strict=True):
        for name, own in curves[curves["network"] == network].groupby("denoiser", sort=False):
            shade, label = SHADES[str(name)]
            axes.errorbar(own["level"], own["distance"], own["error"], fmt="o-", ms=3, color=shade, label=label)
        axes.axhline(THRESHOLD, color="black", lw=0.8, ls=":")
        axes.set(title=network, xlabel="d_H")
    levels = np.array(scale.levels)
    for inputs, dash in ((scale.dimensions, "--"), (scale.sparsity, "-.")):
        panels[0].plot(levels, linear_distance(levels, scale.features / inputs), "k", ls=dash, lw=0.8)
    panels[0].set(ylabel="d_X")
    for axes in panels:
        axes.legend(frameon=False, fontsize=8)
    return figure


def conclude(curves: pd.DataFrame, scale: Scale) -> list[str]:
    """Say in words what holds."""
    sizes = {
        (str(network), str(name)): crossing(own["level"].tolist(), own["distance"].tolist(), THRESHOLD)
        for (network, name), own in curves.groupby(["network", "denoiser"], sort=False)
    }
    plain, ceiling = (linear_size(THRESHOLD, scale.features / inputs) for inputs in (scale.dimensions, scale.sparsity))
    table = curves[curves["network"] == "linear"].pivot(index="level", columns="denoiser", values="distance")
    worse = table.index[table["pursuit"] > table["none"]]
    harm = f"from {worse.min():g} on" if len(worse) else "nowhere"
    own = sizes["linear", "none"], sizes["linear", "pursuit"]
    gains = [
        f"{network} {sizes[network, 'none']:.2f}, by the encoder {sizes[network, 'encoder']:.2f}, by pursuit "
        f"{sizes[network, 'pursuit']:.2f}"
        for network in dict.fromkeys(curves["network"])
        if network != "linear"
    ]
    more = [max(sizes[layer, "encoder"], sizes[layer, "pursuit"]) > sizes[layer, "none"] for layer in scale.layers]
    return [
        f"Linear network: size {own[0]:.3f} (closed form {plain:.3f}); denoised by pursuit {own[1]:.3f}, of at most "
        f"{ceiling:.3f}. That denoising enlarges it within the ceiling {stands([own[0] < own[1] <= ceiling])}; it does "
        f"harm {harm}.",
        f"VGG19, levels at which the mean d_X reaches {THRESHOLD:g}: {'; '.join(gains)}. That denoising enlarges them "
        f"{stands(more)}.",
    ]


if __name__ == "__main__":
    main()
