"""Problem: one (input, layer, level, draw), and what follows from its identity."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from readout.common.errors import ReadoutError
from readout.problems.identity import derive_seed, digest

ALGORITHM = 1
"""Raised whenever a change of the code changes answers, so that no old result stands in for a new one."""

MOST_PROBLEMS = 1_000_000
"""Most problems of a sweep, a hundred times the paper's: 12 days at a second each, and half a minute to form them."""


@dataclass(frozen=True)
class Setting:
    """What all problems of a sweep share, as JSON-like data."""

    network: str
    """Fingerprint of the extractor."""
    readout: Any
    """How the inversion describes itself: prior, loss, optimiser, schedule, protocol, metrics."""
    moved_by: Any
    """What moves features."""
    steps: int
    precision: str

    @cached_property
    def digest(self) -> str:
        """Its name."""
        return digest([self.network, self.readout, self.moved_by, self.steps, self.precision])[:16]


@dataclass(frozen=True)
class Problem:
    """One inversion. Nothing of it depends on the batch or the order it runs in."""

    setting: str
    """Digest of a :class:`Setting`."""
    sample: str
    input_digest: str
    layer: str
    level: float
    draw: int
    seed: int

    @cached_property
    def key(self) -> str:
        """Names the problem by all that decides its answer."""
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
            ]
        )[:32]

    @property
    def noise_seed(self) -> int:
        """The same at every level (common random numbers), another for every draw."""
        return derive_seed("noise", self.seed, self.input_digest, self.layer, self.draw)

    def prior_seed(self, restart: int = 0) -> int:
        """The same at every level, another for every draw and restart."""
        return derive_seed("prior", self.seed, self.input_digest, self.layer, self.draw, restart)


def cross(
    setting: str,
    inputs: Iterable[tuple[str, str]],
    layer: str,
    levels: Sequence[float],
    draws: int,
    seed: int,
) -> list[Problem]:
    """All problems of one layer, the levels of one input and draw side by side.

    Args:
        setting: See :class:`Problem`.
        inputs: (sample name, input digest) pairs.
        layer: Layer name.
        levels: Perturbation levels.
        draws: Independent noise draws a level.
        seed: The sweep's seed.
    """
    return [
        Problem(setting, sample, input_digest, layer, level, draw, seed)
        for sample, input_digest in inputs
        for draw in range(draws)
        for level in levels
    ]


def check_problems(layers: int, levels: int, draws: int, inputs: int) -> None:
    """Raise a :class:`ReadoutError` if a sweep has more than :data:`MOST_PROBLEMS`, before any is formed."""
    total = layers * levels * draws * inputs
    if total > MOST_PROBLEMS:
        raise ReadoutError(
            f"{total:,} inversions ({layers:,} layers × {levels:,} levels × {draws:,} draws × {inputs:,} inputs) are "
            f"more than the {MOST_PROBLEMS:,} that one sweep takes; ask for fewer, or split them into several sweeps."
        )


def batches(problems: Sequence[Problem], size: int) -> Iterator[list[Problem]]:
    """Consecutive groups of at most ``size`` problems."""
    rest = iter(problems)
    while group := list(islice(rest, size)):
        yield group
