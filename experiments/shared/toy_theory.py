"""Neurons with bell-shaped tuning on a circle, and a theory of how far their activity can move.

The nearest feature is where the activity's projection on the manifold is largest. That projection is a bump around the
true input plus smooth Gaussian noise, which causes two kinds of error. The top of the bump shifts: a local error with
a standard deviation of noise over ‖f'(x)‖. Or a distant peak of the noise exceeds the bump: a global error, whose
probability follows from the rate of upcrossings of such noise (Rice's formula).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """Neurons with tuning curves of equal height and width and evenly spaced centres."""

    neurons: int = 100
    width: float = 0.05
    """Standard deviation of a tuning curve, on the circle [0, 1)."""
    noise: float = 0.0
    """Standard deviation of the neurons' own noise, in standard deviations of the feature."""
    threshold: float = 0.05
    """Largest distance at which an input counts as recovered."""

    def tuning(self, x: Values) -> Values:
        """Return the activity without noise, shape (inputs, neurons)."""
        centres = np.arange(self.neurons) / self.neurons
        return np.asarray(np.exp(-0.5 * (distance(x[:, None], centres) / self.width) ** 2))


def distance(x: Values, y: Values | float) -> Values:
    """Return the distance on the circle [0, 1)."""
    away = np.abs(np.asarray(x) - y) % 1
    return np.asarray(np.minimum(away, 1 - away))


def recovered_share(population: Population, level: float) -> float:
    """Return the probability that an input is recovered within the threshold at a level c."""
    variance, energy, slope = _moments(population)
    own = population.noise**2 * variance
    noise = np.sqrt(own + ((1 - level) ** -2 - 1) * (variance + own))
    if noise == 0:
        return 1.0
    threshold = population.threshold
    local = 2 * norm.cdf(threshold * np.sqrt(slope) / noise) - 1
    # heights in standard deviations of the projected noise
    top = np.sqrt(energy) / noise
    crossings = np.sqrt(slope / energy) / (2 * np.pi) * (1 - 2 * threshold)

    def stays_above(z: float) -> float:
        return float(norm.pdf(z - top) * norm.cdf(z) * np.exp(-crossings * np.exp(-0.5 * z * z)))

    # assumes that the bump is negligible beyond the threshold; for wider tuning the local error dominates
    return float(local * quad(stays_above, top - 8, top + 8, points=[top])[0])


def predicted_size(population: Population) -> float:
    """Return the level c at which half of all inputs are recovered; 0 if fewer are without a perturbation."""
    if recovered_share(population, 0) <= 0.5:
        return 0.0
    return float(brentq(lambda level: recovered_share(population, level) - 0.5, 0, 1 - 1e-9))


def _moments(population: Population) -> tuple[float, float, float]:
    """Return a feature's variance over neurons, its squared norm and ‖f'(x)‖², averaged over inputs."""
    grid = np.linspace(0, 1, 512, endpoint=False)
    step = 1e-4
    features = population.tuning(grid)
    slope = (population.tuning(grid + step) - population.tuning(grid - step)) / (2 * step)
    return (
        float(features.var(axis=1).mean()),
        float((features**2).sum(axis=1).mean()),
        float((slope**2).sum(axis=1).mean()),
    )
