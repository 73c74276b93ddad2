"""Toy models of superposition: which features does a network keep if it has fewer dimensions than features?

    python -m experiments.toy_superposition --scale cpu

trains x' = ReLU(W Wᵀ x + b) on sparse features, uniform in (0, 1) where active, all models side by side (Elhage et al.,
2022). Five features in two dimensions should give PCA, antipodal pairs or a regular pentagon, by their density. Two
features in one dimension give a phase diagram over density and relative importance, compared with closed-form losses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from experiments.shared.fitting import FittedModel
from experiments.shared.harness import begin, style
from experiments.summaries.toy_superposition import DENSITIES, PHASES, conclude, draw
from readout.metrics import feature_dimensionality

EVALUATED = 20
"""Batches on which models are compared; one large batch would not fit the memory."""


@dataclass(frozen=True)
class Scale:
    """Parameters of one scale."""

    seeds: int
    steps: int
    side: int
    """Densities, and importances, of the phase diagram."""
    restarts: int
    """Models per cell of the phase diagram, of which the one with the smallest loss counts."""
    phase_steps: int
    batch: int = 1024


SCALES = {
    "smoke": Scale(2, 2000, 4, 4, 400, batch=512),
    "cpu": Scale(6, 6000, 16, 12, 1500),
    "paper": Scale(20, 20_000, 40, 10, 10_000, batch=4096),
}


class ToyModels(FittedModel):
    """Independent models x' = ReLU(W Wᵀ x + b) of n features in m dimensions.

    Args:
        density: Probability that a feature is active, shape (models,).
        importance: Weight of each feature's squared error, shape (models, n).
        dimensions: m.
        steps: See :class:`FittedModel`.
        batch: Samples per step.
        seed: Seed of weights and samples.
    """

    density: Tensor
    importance: Tensor

    def __init__(
        self, density: Tensor, importance: Tensor, dimensions: int, steps: int, batch: int, seed: int = 0
    ) -> None:
        super().__init__(steps, lr=1e-2, seed=seed)
        models, features = importance.shape
        self.register_buffer("density", density.view(-1, 1, 1))
        self.register_buffer("importance", importance)
        self.batch = batch
        start = torch.randn(models, features, dimensions, generator=self.generator)
        self.atoms = nn.Parameter(start / features**0.5)
        self.bias = nn.Parameter(torch.zeros(models, 1, features))

    def forward(self, x: Tensor) -> Tensor:
        """Return x', shape (models, samples, n)."""
        return torch.relu(x @ self.atoms @ self.atoms.mT + self.bias)

    def losses(self) -> Tensor:
        """Return the loss of each model on a new batch, shape (models,)."""
        shape = self.batch, self.importance.shape[1]
        # all models see the same draws, thinned by their density
        values, places = (torch.rand(shape, generator=self.generator).to(self.density) for _ in range(2))
        x = values * (places < self.density)
        rebuilt: Tensor = self(x)
        return (self.importance * (x - rebuilt).square().mean(1)).sum(1)

    def loss(self) -> Tensor:
        """See :class:`FittedModel`; the sum over models, which share no parameter."""
        return self.losses().sum()

    def evaluate(self) -> Tensor:
        """Return the loss of each model over many batches, shape (models,)."""
        return torch.stack([self.losses() for _ in range(EVALUATED)]).mean(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both families of models, and compare them with what is known."""
    experiment = begin("toy_superposition", __doc__, SCALES, arguments)
    features = geometry(experiment.scale)
    cells = phases(experiment.scale)
    experiment.store.write_text("phases.csv", cells.to_csv(index=False))
    with style():
        figure = draw(features, cells)
    experiment.finish(features, figure, *conclude(features, cells))


def geometry(scale: Scale) -> pd.DataFrame:
    """Return the atoms of five equally important features in two dimensions, one row per (density, seed, feature).

    ``gap`` is the angle in degrees to the next atom; it is NaN for atoms shorter than half the longest.
    """
    density = torch.tensor(DENSITIES).repeat_interleave(scale.seeds)
    models = ToyModels(density, torch.ones(len(density), 5), 2, scale.steps, scale.batch)
    models.fit()
    rows = []
    for place, (atoms, loss) in enumerate(zip(models.atoms, models.evaluate().tolist(), strict=True)):
        what = {"density": DENSITIES[place // scale.seeds], "seed": place % scale.seeds, "loss": loss}
        found = {"norm": atoms.norm(dim=1), "dimensionality": feature_dimensionality(atoms), "gap": gaps(atoms)}
        rows.append(pd.DataFrame({**what, "feature": range(5), "x": atoms[:, 0], "y": atoms[:, 1], **found}))
    return pd.concat(rows, ignore_index=True)


def gaps(atoms: Tensor) -> Tensor:
    """Return the angle in degrees from each atom in the plane to the next, anticlockwise, leaving out short ones."""
    norms, angles = atoms.norm(dim=1), torch.rad2deg(torch.atan2(atoms[:, 1], atoms[:, 0]))
    kept = (norms > norms.max() / 2).nonzero().flatten()
    order = kept[angles[kept].argsort()]
    found = torch.full_like(angles, torch.nan)
    found[order] = (angles[order.roll(-1)] - angles[order]) % 360
    return found


def phases(scale: Scale) -> pd.DataFrame:
    """Return the phase of the second of two features in one dimension, one row per (density, importance)."""
    axes = np.geomspace(0.03, 1, scale.side), np.geomspace(0.1, 10, scale.side)
    density, importance = (torch.tensor(axis.ravel()).float() for axis in np.meshgrid(*axes))
    pairs = torch.stack([torch.ones_like(importance), importance], 1)
    pairs = pairs.repeat_interleave(scale.restarts, 0)
    models = ToyModels(density.repeat_interleave(scale.restarts), pairs, 1, scale.phase_steps, scale.batch)
    models.fit()
    losses = models.evaluate().view(-1, scale.restarts)
    best = losses.argmin(1) + scale.restarts * torch.arange(len(losses))
    kept = models.atoms[best, :, 0].square() > 0.5
    phase = torch.where(kept.all(1), 2, kept[:, 1].long())
    table = {"density": density, "importance": importance, "loss": losses.amin(1)}
    expected = closed_losses(density, importance).argmin(0)
    named = {"phase": [PHASES[i] for i in phase], "expected": [PHASES[i] for i in expected]}
    return pd.DataFrame({**table, **named})


def closed_losses(density: Tensor, importance: Tensor) -> Tensor:
    """Return the losses of three solutions: the second feature dropped, the first dropped, and an antipodal pair.

    A dropped feature costs its variance, p/3 − p²/4. In a pair, W = (1, −1) and b = 0, each costs min(x₁, x₂)², on
    average p²/6.

    Args:
        density: p.
        importance: Of the second feature, relative to the first.

    Returns:
        Shape (3, ...), in the order of ``PHASES``.
    """
    variance = density / 3 - density**2 / 4
    return torch.stack([importance * variance, variance, (1 + importance) * density**2 / 6])


if __name__ == "__main__":
    main()
