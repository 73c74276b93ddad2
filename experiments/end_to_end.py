"""From latents to a network's features and back: how much of a sparse code survives each step?

    python -m experiments.end_to_end --scale cpu

Sparse latents z make observations x = g(z) of an invertible network g. A second network learns from x, through a layer
of fewer dimensions than there are latents, to predict targets that are linear in z. The rank of the targets is that of
the layer, so every solution of the task has features linear in z. Codes are then inferred from features by FISTA, with
a dictionary that is fitted to features given the true latents, and matched to latents (mean correlation coefficient,
MCC). Along training, the linear R² of features should bound the MCC, and predict it by closed forms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from experiments.shared.dictionaries import code_mcc, infer
from experiments.shared.fitting import FittedModel
from experiments.shared.harness import begin, style
from experiments.shared.worlds import World, affine_fit, encoder, linear_r2
from experiments.summaries.end_to_end import FITTED, LEARNT, TRUE, conclude, draw
from readout.code_theory import lasso_distance, oracle_distance
from readout.codes import FISTA, Dictionary, GaussianDictionary

OTHER = 1_000_000
"""Seed of the random dictionary, far from those of true ones."""
ITERATIONS = 300

LEAST_PENALTY = 0.01
"""λ without noise, for atoms of unit norm."""


class Size(NamedTuple):
    """Number of latents N, of feature dimensions M and of active latents K."""

    latents: int
    dimensions: int
    active: int


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    sizes: tuple[Size, ...]
    seeds: int
    records: tuple[int, ...]
    """Steps after which codes are inferred, with the last one at the end."""
    batch: int
    width: int
    """Of hidden layers."""
    held_out: int
    """Latents to fit dictionaries on, and as many to infer."""


SMALL = Size(8, 5, 1), Size(16, 8, 2), Size(32, 16, 3)
SCALES = {
    "smoke": Scale(SMALL[:1], 1, (0, 400), 256, 64, 1000),
    "cpu": Scale(SMALL, 2, (0, 30, 300, 2000), 512, 256, 2000),
    "paper": Scale((*SMALL, Size(128, 64, 4)), 5, (0, 30, 100, 300, 1000, 3000, 10_000, 50_000), 2048, 1024, 20_000),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one network per size and seed, and infer codes from its features along the way."""
    experiment = begin("end_to_end", __doc__, SCALES, arguments)
    scale = experiment.scale
    table = pd.concat([follow(size, scale, seed) for size in scale.sizes for seed in range(scale.seeds)])
    with style():
        figure = draw(table)
    experiment.finish(table, figure, *conclude(table))


class Chain(FittedModel):
    """Latents, their world, and a network that learns to predict targets from observations.

    Args:
        size: N, M and K.
        scale: Parameters of training and measurement.
        seed: Seed of all parts.
    """

    mixing: Tensor
    """Targets of features, shape (M, 2 M)."""

    def __init__(self, size: Size, scale: Scale, seed: int = 0) -> None:
        super().__init__(scale.records[-1], lr=3e-3, seed=seed)
        self.size, self.scale = size, scale
        n, m, _ = size
        self.world = World(n, seed=seed)
        self.dictionary = GaussianDictionary(n, m, seed)
        self.encoder = encoder(n, scale.width, scale.width, m, seed=seed)
        self.head = encoder(m, 2 * m, seed=seed)
        self.register_buffer("mixing", torch.randn(m, 2 * m, generator=self.generator) / m**0.5)
        self.held_out = self.draw(2 * scale.held_out)
        self.records: list[dict[str, Any]] = []

    def draw(self, count: int) -> Tensor:
        """Return latents, K of which are active in random places, with half-normal magnitudes; shape (count, N)."""
        places = torch.rand(count, self.size.latents, generator=self.generator).argsort(1)[:, : self.size.active]
        values = torch.randn(places.shape, generator=self.generator).abs()
        return torch.zeros(count, self.size.latents).scatter_(1, places, values)

    def loss(self) -> Tensor:
        """See :class:`FittedModel`; targets are a linear map of rank M of the latents."""
        latents = self.draw(self.scale.batch).to(self.device)
        targets = self.dictionary.decode(latents) @ self.mixing
        return F.mse_loss(self.head(self.encoder(self.world(latents))), targets)

    def on_train_start(self) -> None:
        """Infer codes before training."""
        self.record()

    def on_train_batch_end(self, *_: Any) -> None:
        """Infer codes now and then."""
        if self.global_step in self.scale.records:
            self.record()

    @torch.no_grad()
    def record(self) -> None:
        """Infer codes from the features of held-out latents."""
        features = self.encoder(self.world(self.held_out.to(self.device))).cpu()
        found = read(features, self.held_out)
        expected, bound = closed_forms(found["r2"], found["penalty"], self.size)
        what = {"stage": LEARNT, "step": self.global_step, "expected": expected, "bound": bound}
        self.records.append({**what, **found})


def follow(size: Size, scale: Scale, seed: int) -> pd.DataFrame:
    """Return how well codes are inferred from true features and, by step, from learnt ones."""
    chain = Chain(size, scale, seed)
    latents = chain.held_out
    features = chain.dictionary.decode(latents)
    known = code_mcc(latents, infer(chain.dictionary, FISTA(LEAST_PENALTY), features, ITERATIONS))
    rows = [{"stage": TRUE, "mcc": known}, {"stage": FITTED, **read(features, latents)}]
    chain.fit()
    name = f"N = {size.latents}, M = {size.dimensions}, K = {size.active}"
    return pd.DataFrame([*rows, *chain.records]).assign(size=name, seed=seed, linear=(size[1] / size[0]) ** 0.5)


def read(features: Tensor, latents: Tensor) -> dict[str, float]:
    """Fit a dictionary to one half of the features, and infer codes from the other.

    Returns:
        Linear R² of features from latents (``r2``), the λ of FISTA (``penalty``), and the MCC of codes (``mcc``), of
        codes by a random dictionary (``chance``) and of a linear probe that is fitted to latents (``probe``).
    """
    half = len(latents) // 2
    # whitening forgets which invertible map of the targets was learnt
    left, _, right = torch.linalg.svd((features - features.mean(0)).double(), full_matrices=False)
    white = (left @ right * len(features) ** 0.5).float()
    fitted = affine_fit(latents[:half], white[:half]).float()
    atoms, scale = fitted[:-1], fitted[:-1].norm(dim=1).mean()
    moved, test = (white[half:] - fitted[-1]) / scale, latents[half:]
    # as large as what is not linear in the latents
    penalty = max(LEAST_PENALTY, float((moved - test @ atoms / scale).std()))
    other = GaussianDictionary(len(atoms), atoms.shape[1], seed=OTHER)
    probe = white[half:] @ affine_fit(white[:half], latents[:half]).float()[:-1]
    return {
        **{"r2": linear_r2(latents, white), "penalty": penalty},
        "mcc": code_mcc(test, infer(Dictionary(atoms), FISTA(penalty), moved, ITERATIONS)),
        "chance": code_mcc(test, infer(other, FISTA(penalty), moved, ITERATIONS)),
        "probe": code_mcc(test, probe),
    }


def closed_forms(r2: float, penalty: float, size: Size) -> tuple[float, float]:
    """Return the correlation that is expected of LASSO codes, and that of least squares on the true support.

    What is not linear in the latents counts as Gaussian noise.

    Args:
        r2: Linear R² of the features.
        penalty: λ, for atoms of unit norm.
        size: N, M and K.
    """
    n, m, k = size
    energy_ratio = 1 / (1 - 2 / math.pi * k / n)  # of half-normal magnitudes
    level = 1 - 1 / math.sqrt(1 + (1 / min(r2, 1.0) - 1) / energy_ratio)
    lasso = lasso_distance(level, penalty, k, n, m)
    return 1 - float(lasso), 1 - float(oracle_distance(level, k, m, energy_ratio))


if __name__ == "__main__":
    main()
