"""Problem: one (input, layer, level, draw, reading), with its key and seeds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from readout.common.errors import ReadoutError
from readout.problems.identity import derive_seed, digest

ALGORITHM = 1
"""Version of the algorithm; raised if new code changes answers, so that old results are not taken for new ones."""

MOST_PROBLEMS = 1_000_000
"""Largest number of problems per sweep, 100 times the paper's: 12 days at a second each, half a minute to form."""


@dataclass(frozen=True)
class Setting:
    """Everything that all problems of a sweep share, as plain data."""

    network: str
    """Fingerprint of the extractor."""
    readout: Any
    """Description of the inversion: prior, loss, optimiser, schedule, protocol, metrics."""
    moved_by: Any
    """Description of the perturbation, or of external features."""
    steps: int
    precision: str

    @cached_property
    def digest(self) -> str:
        """Digest that identifies the setting, 16 hex digits."""
        return digest([self.network, self.readout, self.moved_by, self.steps, self.precision])[:16]


@dataclass(frozen=True)
class Problem:
    """One inversion, independent of its batch and of the order in which problems run.

    Examples:
        >>> low, high = (Problem("abc", "cat", "123", "conv1_1", level, draw=0, seed=0) for level in (0.3, 0.9))
        >>> low.key != high.key, low.noise_seed == high.noise_seed
        (True, True)
    """

    setting: str
    """Digest of a :class:`Setting`."""
    sample: str
    input_digest: str
    layer: str
    level: float
    draw: int
    seed: int
    reading: int = 0
    """Index among the independent starts from one perturbed feature."""

    @cached_property
    def key(self) -> str:
        """Digest of everything that decides the answer, 32 hex digits."""
        return digest(
            [
                ALGORITHM,
                self.setting,
                self.sample,
                self.input_digest,
                self.layer,
                self.level,
                self.draw,
                self.seed,
                *self._further,
            ]
        )[:32]

    @property
    def noise_seed(self) -> int:
        """Seed of the noise: equal at all levels (common random numbers), different for each draw."""
        return derive_seed("noise", self.seed, self.input_digest, self.layer, self.draw)

    def prior_seed(self, restart: int = 0) -> int:
        """Return the prior's seed: equal at all levels, different for each draw, reading and restart."""
        return derive_seed("prior", self.seed, self.input_digest, self.layer, self.draw, restart, *self._further)

    @property
    def _further(self) -> list[int]:
        """Return the reading, unless it is the first, whose keys and seeds are those of a sweep without readings."""
        return [self.reading] if self.reading else []


def cross(
    setting: str,
    inputs: Iterable[tuple[str, str]],
    layer: str,
    levels: Sequence[float],
    draws: int,
    seed: int,
    readings: int = 1,
) -> list[Problem]:
    """Form all problems of one layer, by reading, then input, then draw, then level.

    Args:
        setting: Digest of a :class:`Setting`.
        inputs: (sample name, input digest) pairs.
        layer: Layer name.
        levels: Perturbation levels.
        draws: Independent noise draws per level.
        seed: Seed of the sweep.
        readings: Independent starts per perturbed feature.

    Examples:
        >>> problems = cross("abc", [("cat", "123"), ("dog", "456")], "conv1_1", [0, 0.5], draws=1, seed=0)
        >>> [(problem.sample, problem.level) for problem in problems]
        [('cat', 0), ('cat', 0.5), ('dog', 0), ('dog', 0.5)]
    """
    return [
        Problem(setting, sample, input_digest, layer, level, draw, seed, reading)
        for reading in range(readings)
        for sample, input_digest in inputs
        for draw in range(draws)
        for level in levels
    ]


def check_problems(layers: int, levels: int, draws: int, inputs: int) -> None:
    """Raise a :class:`ReadoutError`, before problems are formed, if there are more than :data:`MOST_PROBLEMS`."""
    total = layers * levels * draws * inputs
    if total > MOST_PROBLEMS:
        raise ReadoutError(
            f"{total:,} inversions ({layers:,} layers × {levels:,} levels × {draws:,} draws × {inputs:,} inputs) are "
            f"more than the {MOST_PROBLEMS:,} that one sweep takes; ask for fewer, or split them into several sweeps."
        )


def batches(problems: Sequence[Problem], size: int) -> Iterator[list[Problem]]:
    """Yield consecutive groups of at most ``size`` problems."""
    rest = iter(problems)
    while group := list(islice(rest, size)):
        yield group
