"""Does a classifier learn the latents that its data were made of, up to a linear map?

    python -m experiments.identifiability --scale cpu

Latents z on a sphere lie around the vectors of clusters with a von Mises–Fisher density, observations are x = g(z) of
an invertible network g, and a classifier is trained to tell the cluster. In theory the layer before its logits is then
linear in z (Reizinger et al., 2025). The linear R² of z, on latents not seen in training, is followed along training,
and measured where an assumption is violated: with fewer clusters than dimensions, with clusters so concentrated that
nothing varies within them, and with a density that is not von Mises–Fisher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import vonmises_fisher
from torch import Tensor
from torch.nn import functional as F

from experiments.shared.fitting import FittedModel
from experiments.shared.harness import begin, style
from experiments.shared.worlds import World, encoder, linear_r2
from experiments.summaries.identifiability import ENOUGH, REFERENCE, conclude, draw

HELD_OUT = 8192
"""Latents on which R² is measured."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    dimensions: int
    clusters: int
    seeds: int
    steps: int
    batch: int
    records: int
    """Measurements along training."""

    def cases(self) -> dict[str, dict[str, Any]]:
        """Return arguments of a :class:`ClusterProcess` by what differs."""
        few, enough = self.dimensions - 1, self.dimensions + 1
        return {
            REFERENCE: {"clusters": self.clusters},
            f"{enough} clusters {ENOUGH}": {"clusters": enough},
            f"{few} clusters (d − 1)": {"clusters": few},
            "κ = 100": {"clusters": self.clusters, "concentration": 100.0},
            "κ = 1000": {"clusters": self.clusters, "concentration": 1000.0},
            "Laplace": {"clusters": self.clusters, "laplace": True},
        }


SCALES = {
    "smoke": Scale(3, 30, 1, 500, 256, 2),
    "cpu": Scale(5, 100, 2, 2000, 512, 10),
    "paper": Scale(5, 100, 5, 50_000, 1024, 20),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a classifier per case and seed, and measure how linear its representation is in the latents."""
    experiment = begin("identifiability", __doc__, SCALES, arguments)
    scale = experiment.scale
    table = pd.concat(
        [
            measure(ClusterProcess(scale.dimensions, **case, seed=seed), scale, seed).assign(case=name, seed=seed)
            for name, case in scale.cases().items()
            for seed in range(scale.seeds)
        ],
        ignore_index=True,
    )
    with style():
        figure = draw(table)
    experiment.finish(table, figure, *conclude(table))


class ClusterProcess:
    """Latents around cluster vectors on the unit sphere, and the observations they make.

    Args:
        dimensions: d, of latents and observations.
        clusters: Number of clusters, whose vectors are uniform on the sphere.
        concentration: κ of the von Mises–Fisher density.
        laplace: Whether latents are drawn around their vector with Laplace noise in every coordinate, then normalised.
        seed: Seed of vectors, latents and world.
    """

    def __init__(
        self, dimensions: int, clusters: int, concentration: float = 10.0, laplace: bool = False, seed: int = 0
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.concentration, self.laplace = concentration, laplace
        vectors = self.rng.standard_normal((clusters, dimensions))
        self.vectors = torch.from_numpy(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).float()
        self.world = World(dimensions, seed=seed)

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Return latents, shape (count, d), and the cluster of each."""
        clusters = torch.from_numpy(self.rng.integers(len(self.vectors), size=count))
        centres = self.vectors[clusters]
        return self._laplace(centres) if self.laplace else self._von_mises_fisher(centres), clusters

    def _von_mises_fisher(self, centres: Tensor) -> Tensor:
        """Draw around one pole, and reflect each draw so that the pole falls on its centre."""
        pole = np.eye(centres.shape[1])[0]
        around = vonmises_fisher(pole, self.concentration).rvs(len(centres), random_state=self.rng)
        z, axis = torch.from_numpy(around).float(), F.normalize(torch.from_numpy(pole).float() - centres)
        return z - 2 * (z * axis).sum(1, keepdim=True) * axis

    def _laplace(self, centres: Tensor) -> Tensor:
        scale = 1 / np.sqrt(2 * self.concentration)  # 1/κ is a narrow von Mises–Fisher density's variance
        noise = self.rng.laplace(scale=scale, size=tuple(centres.shape))
        return F.normalize(centres + torch.from_numpy(noise).float())


class Classifier(FittedModel):
    """An encoder of observations with a linear head, trained by cross-entropy to tell clusters.

    Args:
        process: Source of latents and clusters.
        scale: Number of steps, observations per step and measurements.
        seed: Seed of the weights.
    """

    def __init__(self, process: ClusterProcess, scale: Scale, seed: int = 0) -> None:
        super().__init__(scale.steps, lr=1e-2)
        self.process, self.scale = process, scale
        clusters, d = process.vectors.shape
        self.world = process.world
        self.encoder = encoder(d, 10 * d, 50 * d, 50 * d, 10 * d, d, seed=seed)
        self.head = encoder(d, clusters, seed=seed)
        self.held_out = process.draw(HELD_OUT)
        self.records: list[dict[str, float]] = []
        """R² of the latents and accuracy, along training."""

    def loss(self) -> Tensor:
        """See :class:`FittedModel`."""
        latents, clusters = (values.to(self.device) for values in self.process.draw(self.scale.batch))
        logits = self.head(self.encoder(self.world(latents)))
        return F.cross_entropy(logits, clusters)

    def on_train_batch_end(self, *_: Any) -> None:
        """Measure now and then."""
        if self.global_step % (self.scale.steps // self.scale.records) == 0:
            self.record()

    @torch.no_grad()
    def record(self) -> None:
        """Measure on latents that were held out."""
        latents, clusters = (values.to(self.device) for values in self.held_out)
        learnt = self.encoder(self.world(latents))
        accuracy = (self.head(learnt).argmax(1) == clusters).float().mean().item()
        self.records.append({"step": self.global_step, "r2": linear_r2(learnt, latents), "accuracy": accuracy})


def measure(process: ClusterProcess, scale: Scale, seed: int) -> pd.DataFrame:
    """Return the linear R² of latents from the representation (``r2``) and from observations (``raw``), by step."""
    classifier = Classifier(process, scale, seed)
    classifier.fit()
    latents, _ = classifier.held_out
    return pd.DataFrame(classifier.records).assign(raw=linear_r2(process.world(latents), latents))


if __name__ == "__main__":
    main()
