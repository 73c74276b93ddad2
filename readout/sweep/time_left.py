"""TimeLeft: how much of a sweep is done, and how long the rest takes at the pace so far."""

from collections.abc import Mapping
from dataclasses import dataclass

TRUSTED_SHARE = 0.1
"""Share of a batch after which a layer's own pace counts in full; its first steps also set things up."""


@dataclass(frozen=True)
class Foreseen:
    """Forecast for one layer."""

    problems: int
    """Problems left; for a search, at most."""
    least: int
    """Lower bound on ``problems``."""
    batch_size: int
    """Problems side by side in a full batch."""
    each: float
    """Seconds that a whole inversion takes per problem side by side."""
    fixed: float = 0.0
    """Seconds that it takes however many they are."""

    def batch(self, problems: int) -> float:
        """Seconds of one batch."""
        return self.fixed + self.each * problems if problems else 0.0

    def batches(self, problems: int) -> float:
        """Seconds of as many full batches as it takes, and one for the rest."""
        full, rest = divmod(max(problems, 0), self.batch_size)
        return full * self.batch(self.batch_size) + self.batch(rest)


@dataclass(frozen=True)
class Left:
    """Seconds left, from least to most; one number except for searches."""

    least: float
    most: float


class TimeLeft:
    """Corrects a probe's forecast by what the problems so far took.

    Work is counted in seconds foreseen. The share of it that is done never shrinks, whatever the clock shows. The time
    left is the work left times a pace, seconds taken per second foreseen: the layer's own, and before the layer has
    run that of all layers so far. Scoring, storing, restarts and early arrivals are in the pace.

    How much a search needs is unknown until it ends, so its time is a range.

    No clock is read here: every method is given the time, in seconds from any origin.

    Args:
        layers: Forecast by layer.
    """

    def __init__(self, layers: Mapping[str, Foreseen]) -> None:
        self._layers = {name: _Layer(foreseen) for name, foreseen in layers.items()}
        self._share = 0.0
        self.measured = False
        """Whether a batch has been finished, so that the forecast is no longer the probe's alone."""

    def start_batch(self, layer: str, problems: int, now: float) -> None:
        """Begin a batch."""
        self._current, self._told = self._layers[layer], now
        self._current.in_hand, self._current.share = problems, 0.0

    def step(self, now: float, share: float, before: float = 0.0) -> None:
        """Note how far the batch is; problems that start again take it no step back.

        Args:
            now: The time.
            share: Share of its steps that are done.
            before: Seconds that an interrupted process put into it.
        """
        self._current.spent += now - self._told + before
        self._current.share, self._told = max(self._current.share, share), now

    def end_batch(self, now: float) -> None:
        """Note that the batch is stored, however many steps it took."""
        self.step(now, 1.0)
        self._current.end_batch()
        self.measured = True

    def end_layer(self, layer: str, now: float) -> None:
        """Note that the layer has all that it needs, and is logged."""
        ended = self._layers[layer]
        ended.spent += now - self._told if ended.finished else 0.0
        ended.ended = True

    @property
    def share(self) -> float:
        """Share of the work that is done; of a search, halfway between least and most."""
        done = sum(layer.done for layer in self._layers.values())
        left = sum(layer.left(layer.foreseen.least) + layer.left(layer.foreseen.problems) for layer in self._active) / 2
        self._share = max(self._share, done / (done + left) if done else 0.0)
        return self._share

    @property
    def seconds(self) -> Left:
        """Seconds left at the last event."""
        paces = [(layer, self._pace(layer)) for layer in self._active]
        return Left(
            sum(pace * layer.left(layer.foreseen.least) for layer, pace in paces),
            sum(pace * layer.left(layer.foreseen.problems) for layer, pace in paces),
        )

    @property
    def _active(self) -> list["_Layer"]:
        return [layer for layer in self._layers.values() if not layer.ended]

    def _pace(self, layer: "_Layer") -> float:
        others = [other for other in self._layers.values() if other is not layer]
        done = sum(other.done for other in others)
        general = sum(other.spent for other in others) / done if done else 1.0
        if not layer.done:
            return general
        trust = min(layer.done / (TRUSTED_SHARE * layer.foreseen.batch(layer.foreseen.batch_size)), 1.0)
        return trust * layer.spent / layer.done + (1 - trust) * general


@dataclass
class _Layer:
    """Work and time of one layer."""

    foreseen: Foreseen
    stored: float = 0.0
    """Seconds foreseen for batches that are stored."""
    finished: int = 0
    """Problems in these."""
    in_hand: int = 0
    """Problems in the batch that runs."""
    share: float = 0.0
    """Share of its steps that are done."""
    spent: float = 0.0
    """Seconds that all of this took."""
    ended: bool = False

    def end_batch(self) -> None:
        self.stored, self.finished, self.in_hand = self.done, self.finished + self.in_hand, 0

    @property
    def done(self) -> float:
        """Seconds foreseen for what is done."""
        return self.stored + self.share * self.foreseen.batch(self.in_hand)

    def left(self, problems: int) -> float:
        """Seconds foreseen for what is left if the layer takes so many problems in all."""
        in_hand = (1 - self.share) * self.foreseen.batch(self.in_hand)
        return in_hand + self.foreseen.batches(problems - self.finished - self.in_hand)
