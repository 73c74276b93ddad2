"""Bell-shaped tuning neurons on a circle, and how far theory says their activity can move.

The nearest feature is where the activity's projection on the manifold is largest, and that projection is a bump
around the true input plus smooth Gaussian noise. Two things can go wrong. The top of the bump shifts (a local error,
whose spread is noise over ‖f'(x)‖), or a far hill of the noise overtops the bump (a global error, whose chance follows
from how often such noise crosses a height upwards: Rice's formula).
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
    """Neurons whose tuning curves have one height, one width and evenly spaced centres."""

    neurons: int = 100
    width: float = 0.05
    """Standard deviation of a tuning curve, on the circle [0, 1)."""
    noise: float = 0.0
    """Neurons' own noise, in standard deviations of the feature."""
    threshold: float = 0.05
    """An input counts as read back within this distance."""

    def tuning(self, x: Values) -> Values:
        """Activity without noise, shape (inputs, neurons)."""
        centres = np.arange(self.neurons) / self.neurons
        return np.asarray(np.exp(-0.5 * (distance(x[:, None], centres) / self.width) ** 2))


def distance(x: Values, y: Values | float) -> Values:
    """Distance on the circle [0, 1)."""
    away = np.abs(np.asarray(x) - y) % 1
    return np.asarray(np.minimum(away, 1 - away))


def recovered_share(population: Population, level: float) -> float:
    """Chance that an input is read back within the threshold at a level c."""
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

    # outside, the bump has died away only if tuning is narrower than the threshold; wide bumps err locally
    return float(local * quad(stays_above, top - 8, top + 8, points=[top])[0])


def predicted_size(population: Population) -> float:
    """Level c at which half of all perturbations are still read back; 0 if fewer are without any."""
    if recovered_share(population, 0) <= 0.5:
        return 0.0
    return float(brentq(lambda level: recovered_share(population, level) - 0.5, 0, 1 - 1e-9))


def _moments(population: Population) -> tuple[float, float, float]:
    """Variance of a feature over its neurons, its squared norm, and ‖f'(x)‖², on average over inputs."""
    grid = np.linspace(0, 1, 512, endpoint=False)
    step = 1e-4
    features = population.tuning(grid)
    slope = (population.tuning(grid + step) - population.tuning(grid - step)) / (2 * step)
    return (
        float(features.var(axis=1).mean()),
        float((features**2).sum(axis=1).mean()),
        float((slope**2).sum(axis=1).mean()),
    )
